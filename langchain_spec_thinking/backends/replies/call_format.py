"""What a format of tool calls in text consists of, and the plan for the next text of a turn that uses it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.tools import ToolCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.replies.call_parser import CallParser
    from langchain_spec_thinking.tools import Tools

_EXAMPLE = ToolCall("", "the function", '{"an argument": "its value"}')


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """What a text must follow.

    Attributes:
        kind: `"json_schema"` if the text is JSON. `"structural_tag"` if the text has another format: the grammar then
            describes fixed text and the content between it. It is the format `structural_tag` of xgrammar, which local
            models use. Servers get only JSON schemas.
        definition: The JSON schema, or the `format` of xgrammar's structural tag.
    """

    kind: Literal["json_schema", "structural_tag"]
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """How a model is made to write the next text of a turn. A backend carries the plan out.

    `plan_answer` and `plan_reading` in `answer_plan.py` make plans. A plan without any value is the plan for free text.

    Attributes:
        call_format: The format of the calls in the text. None if the text may contain no calls.
        tools: The tools that may be called.
        prefix: The beginning of a call that the model must make. The model is given the prefix and continues after it.
        grammar: What the text after the prefix must follow. None if the text is free. Also None if several tools are
            possible and the format has no grammar for a choice.
        ending: The end of a call that comes after the text of the grammar, for example `}]`. If the grammar is
            enforced, the text ends before it. If not, the model may write all or some of it. The parser adds what is
            missing.
        begun: The beginning of an answer that the grammar covers. It was written by an earlier request.
    """

    call_format: CallFormat | None = None
    tools: Tools | None = None
    prefix: str = ""
    grammar: AnswerGrammar | None = None
    ending: str = ""
    begun: str = ""

    @property
    def single_call(self) -> bool:
        """Whether only one call may be made."""
        return self.tools is not None and (self.tools.parallel is False or self.tools.required_tool is not None)

    def parser(self) -> CallParser | None:
        """Return a parser that reads the calls from the text. None if the text may contain no calls."""
        return self.call_format.parser(self) if self.call_format else None


FREE_TEXT = AnswerPlan()
"""The plan for a text without calls that nothing constrains."""


@dataclass(frozen=True, slots=True)
class CallFormat(ABC):
    """A format of tool calls in text: how it is detected, begun for a model, read and written.

    `CALL_FORMATS` in `call_formats.py` lists the formats. A format that lacks one of these parts is an error when that
    module is imported.

    Attributes:
        template_marks: Texts that the chat template of a model with this format contains. All of them must be there.
        description: What a model must write to make a call, for a prompt that teaches the format. It is a noun phrase,
            because it follows "To call one, write ".
    """

    template_marks: tuple[str, ...]
    description: str

    def __post_init__(self) -> None:
        """Refuse a format that lacks a part.

        Raises:
            TypeError: There are no template marks, or the format or its parser lacks a method.
        """
        if not self.template_marks or not all(self.template_marks):
            msg = f"template_marks: expected texts that a chat template contains, got {self.template_marks!r}"
            raise TypeError(msg)
        self.parser(FREE_TEXT)  # a parser without one of its methods cannot be created

    @property
    @abstractmethod
    def marks(self) -> frozenset[str]:
        """The marks around a call. If a server removes one of them from the text, the calls are lost."""

    @property
    def optional_marks(self) -> frozenset[str]:
        """Marks that a model may write or omit."""
        return frozenset()

    @abstractmethod
    def plan_required_call(self, tools: Tools) -> AnswerPlan:
        """Return the plan for an answer that must be a call.

        The plan must have a grammar if only one tool is possible (`tools.required_tool`).

        Args:
            tools: The tools. Their `choice` is `"required"` or the name of a tool.
        """

    @abstractmethod
    def parser(self, plan: AnswerPlan) -> CallParser:
        """Return a parser that reads calls from a stream of text.

        Args:
            plan: The tools, the prefix that the model was given, and the ending that the model may omit.
        """

    @abstractmethod
    def write(self, calls: Sequence[ToolCall]) -> str:
        """Return calls as a model with this format writes them."""

    def template_arguments(self, call: ToolCall) -> Any:  # noqa: ANN401 - any JSON value
        """Return the arguments of a call in the conversation, as the model's chat template expects them."""
        return call.parsed()

    def is_written_by(self, template: str) -> bool:
        """Return whether a model with this chat template writes this format."""
        return all(mark in template for mark in self.template_marks)

    def as_prompt_text(self) -> str:
        """Return an explanation of the format, for a model whose chat template does not explain it."""
        return f"To call one, write {self.description}, and nothing after it:\n{self.write([_EXAMPLE])}"

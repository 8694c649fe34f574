"""The plan for the next text of a turn: what the model is given, what its text must follow, and how calls are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.call_format import CallFormat
    from langchain_spec_thinking.backends.replies.call_parser import CallParser
    from langchain_spec_thinking.tools import Tools
    from langchain_spec_thinking.turn import Turn


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """What a text must follow.

    Attributes:
        kind: `"json_schema"` if the text is JSON. `"structural_tag"` if the text has another format.
        definition: The JSON schema, or the format of xgrammar's structural tags.
    """

    kind: Literal["json_schema", "structural_tag"]
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """How a model is made to write the next text of a turn. A backend carries the plan out.

    `plan_answer` and `plan_reading` make plans. A plan without any value is the plan for free text.

    Attributes:
        call_format: The format of the calls in the text. None if the text may contain no calls.
        tools: The tools that may be called.
        prefix: The beginning of a call that the model must make. The model is given the prefix and continues after it.
        grammar: What the text after the prefix must follow. None if the text is free.
        ending: The end of the call that the grammar does not contain. A model that follows the grammar does not write
            it. Other models may write all or some of it.
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


def plan_answer(turn: Turn, call_format: CallFormat) -> AnswerPlan:
    """Return the plan for a model that continues the text of a turn.

    Args:
        turn: The turn that is continued.
        call_format: The format in which the model writes calls.
    """
    plan = plan_reading(turn, call_format)
    if plan.tools and turn.answer_is_empty and plan.tools.choice != "auto":
        return call_format.plan_required_call(plan.tools)
    if turn.channel == "answer" and turn.tools is None and turn.schema is not None:
        schema = AnswerGrammar("json_schema", turn.schema.get("schema", {}))
        return AnswerPlan(grammar=schema, begun=f"{turn.answer}{turn.pending}".lstrip())
    return plan


def plan_reading(turn: Turn, call_format: CallFormat) -> AnswerPlan:
    """Return the plan for a text that another program prompts and constrains. Only the calls are read from the text.

    Args:
        turn: The turn that is continued.
        call_format: The format of the calls in the text.
    """
    if turn.tools is None or turn.tools.choice == "none" or turn.channel != "answer":
        return FREE_TEXT
    return AnswerPlan(call_format, turn.tools)

"""The neutral state of one assistant turn, and what it answers to.

Models never see each other's token ids, chat templates or think tags. They share a `Turn`: plain text, split into what
was thought and what was answered, with the author of every piece. Each backend renders it for its own model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from langchain_spec_thinking.tools import ToolCall, Tools

Author = Literal["speculative", "target", "inserted"]
Channel = Literal["thinking", "answer"]
Role = Literal["system", "user", "assistant", "tool"]

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
OPENING = f"{THINK_OPEN}\n"
"""How an open thought begins where the model's own template has not begun it already."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation so far: a role and plain text.

    Attributes:
        tool_calls: What an assistant's message calls.
        tool_call_id: Which call a tool's message answers.
        name: The tool that it answers for.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of committed text: who wrote it, where it belongs, what it says."""

    author: Author
    channel: Channel
    text: str


@dataclass(slots=True)
class _Rope:
    """Text that grows at its end in constant time; reading joins what is new."""

    parts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if len(self.parts) > 1:
            self.parts[:] = ["".join(self.parts)]
        return self.parts[0] if self.parts else ""


@dataclass(eq=False)
class Turn:
    r"""A half-written assistant turn.

    Compared and hashed by identity: backends key what they keep of a running turn (a KV cache, say) by the turn itself.

    Attributes:
        history: The conversation this turn answers, oldest message first.
        thinks: Whether the turn has a thinking part. Set at the start where a model of the pair is a reasoning model,
            later where a model opens a thought by itself.
        closing: The markup that closed the thought, with the white space around it exactly as its author wrote it
            (`"</think>\n\n"`); empty while the thought is open. A local model finds its own tokens again in it.
        spans: What was committed, in order, in the pieces it came in.
        pending: What stands after that for one request: what a stream had brought that broke and is to go on, or a step
            that the target is asked about, with the question.
        tools: What may be called. The answer is then whole: nobody else goes on with it.
        calls: The calls that the answer makes.
        schema: A JSON schema that the answer must satisfy, in the form of OpenAI's `json_schema`, or an empty one for
            any JSON object; None for text.
    """

    history: tuple[Message, ...]
    thinks: bool = False
    closing: str = ""
    spans: list[Span] = field(default_factory=list)
    pending: str = ""
    tools: Tools | None = None
    calls: list[ToolCall] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    _text: dict[Channel, _Rope] = field(default_factory=lambda: {"thinking": _Rope(), "answer": _Rope()}, repr=False)

    @property
    def channel(self) -> Channel:
        """Where the next text belongs."""
        return "thinking" if self.thinks and not self.closing else "answer"

    @property
    def structured_answer(self) -> bool:
        """Whether the answer has a form that no two models could write together."""
        return self.tools is not None or self.schema is not None

    @property
    def unanswered(self) -> bool:
        """Whether an answer is to be written, and nothing of it is there."""
        return self.channel == "answer" and not self.calls and not f"{self.answer}{self.pending}".strip()

    def text(self, channel: Channel) -> str:
        """Return all that was written in a channel so far."""
        return str(self._text[channel])

    @property
    def thinking(self) -> str:
        """All that was thought so far."""
        return self.text("thinking")

    @property
    def answer(self) -> str:
        """All that was answered so far."""
        return self.text("answer")

    @property
    def thinking_closed(self) -> bool:
        """Whether a thought was opened and closed again."""
        return bool(self.closing)

    def append(self, author: Author, text: str) -> None:
        """Commit text to the current channel. It is final from here on."""
        self._text[self.channel].parts.append(text)
        self.spans.append(Span(author, self.channel, text))

    def snapshot(self) -> Turn:
        """Return a copy, for somebody who reads the turn while it goes on."""
        copy = replace(self, spans=[*self.spans], calls=[*self.calls])
        copy._text = {channel: _Rope([str(rope)]) for channel, rope in self._text.items()}  # noqa: SLF001 - its own
        return copy

    def body(self, *, opened: bool = False) -> str:
        """The turn as one string in the markup all reasoning models share.

        Args:
            opened: Leave out `OPENING`, because the chat template's generation prompt has written it.
        """
        if not self.thinks:
            return f"{self.answer}{self.pending}"
        return f"{'' if opened else OPENING}{self.thinking}{self.closing}{self.answer}{self.pending}"

"""The state of one assistant turn, with the conversation that it answers. It does not depend on any model.

Models never see each other's token ids, chat templates or think tags. They share a `Turn`: plain text, split into the
thought and the answer, with the author of every piece. Each backend renders the turn for its own model.
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
"""The text that opens a thought if the model's chat template has not opened it already."""
CLOSING = f"\n{THINK_CLOSE}\n\n"
"""The text that closes a thought if its author did not close it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation so far: a role and plain text.

    Attributes:
        tool_calls: The tool calls of an assistant message.
        tool_call_id: The id of the call that a tool message answers.
        name: The name of the tool that a tool message comes from.
        reasoning: The thought of an assistant message. Only services that want it back get it.
        reply_fields: What the server sent along with the tool calls of an assistant message, and `"model"`: which model
            on which server sent it. Only this model gets it back.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""
    reasoning: str = ""
    reply_fields: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of committed text, with its author and its channel."""

    author: Author
    channel: Channel
    text: str


@dataclass(slots=True)
class _TextBuffer:
    """Text that grows at its end in constant time. Reading it joins the new parts."""

    parts: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if len(self.parts) > 1:
            self.parts[:] = ["".join(self.parts)]
        return self.parts[0] if self.parts else ""


@dataclass(eq=False)
class Turn:
    r"""A half-written assistant turn.

    Turns are compared and hashed by identity, because backends use the turn as the key for data about it (for example a
    KV cache).

    Attributes:
        history: The conversation that this turn answers, oldest message first.
        thinks: Whether the turn has a thinking part. It is set at the start if a model of the pair is a reasoning
            model, or later if a model opens a thought by itself.
        closing: The markup that closed the thought, with the white space around it exactly as its author wrote it
            (`"</think>\n\n"`). It is empty while the thought is open. The exact text lets a local model find its own
            tokens again.
        spans: The committed text in order, in the pieces in which it was committed.
        pending: Text that follows the committed text for one request only. It is the text that a broken stream had
            produced, if the stream must continue. Or it is a step that the target model scores, with the question.
        tools: The tools that may be called. If it is set, one model writes the whole answer.
        calls: The tool calls of the answer.
        schema: A JSON schema that the answer must satisfy, in the form of OpenAI's `json_schema`. An empty schema
            allows any JSON object. None means that the answer is text.
    """

    history: tuple[Message, ...]
    thinks: bool = False
    closing: str = ""
    spans: list[Span] = field(default_factory=list)
    pending: str = ""
    tools: Tools | None = None
    calls: list[ToolCall] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    _text: dict[Channel, _TextBuffer] = field(
        default_factory=lambda: {"thinking": _TextBuffer(), "answer": _TextBuffer()}, repr=False
    )

    @property
    def channel(self) -> Channel:
        """The channel of the next text."""
        return "thinking" if self.thinks and not self.closing else "answer"

    @property
    def structured_answer(self) -> bool:
        """Whether one model must write the whole answer, because of tools or a schema."""
        return self.tools is not None or self.schema is not None

    @property
    def answer_is_empty(self) -> bool:
        """Whether the turn is in the answer, and the answer is still empty."""
        return self.channel == "answer" and not self.calls and not f"{self.answer}{self.pending}".strip()

    def text(self, channel: Channel) -> str:
        """Return all text of a channel so far."""
        return str(self._text[channel])

    @property
    def thinking(self) -> str:
        """All text of the thought so far."""
        return self.text("thinking")

    @property
    def answer(self) -> str:
        """All text of the answer so far."""
        return self.text("answer")

    @property
    def thinking_closed(self) -> bool:
        """Whether the thought was opened and closed."""
        return bool(self.closing)

    @property
    def is_begun(self) -> bool:
        """Whether a request has something to continue: text that a model wrote, or a thought that was closed."""
        return bool(self.spans or self.closing or self.pending)

    def append(self, author: Author, text: str) -> None:
        """Commit text to the current channel. Committed text is final."""
        self._text[self.channel].parts.append(text)
        self.spans.append(Span(author, self.channel, text))

    def snapshot(self) -> Turn:
        """Return a copy that can be read while the turn continues."""
        copy = replace(self, spans=[*self.spans], calls=[*self.calls])
        copy._text = {channel: _TextBuffer([str(text)]) for channel, text in self._text.items()}  # noqa: SLF001 - an object of this class
        return copy

    def body(self, *, opened: bool = False) -> str:
        """Return the turn as one string, in the common markup of reasoning models.

        Args:
            opened: Whether to omit `OPENING`, because the generation prompt of the chat template already contains it.
        """
        if not self.thinks:
            return f"{self.answer}{self.pending}"
        return f"{'' if opened else OPENING}{self.thinking}{self.closing}{self.answer}{self.pending}"

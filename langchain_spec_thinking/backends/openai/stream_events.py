"""Reads streamed chunks of an OpenAI-compatible server into events. Pure: chunks in, events out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.base import (
    TOKEN_CHARACTERS_MAX,
    Call,
    End,
    Event,
    Limitation,
    Piece,
    ReplyFields,
    Usage,
)
from langchain_spec_thinking.backends.openai.fields import field
from langchain_spec_thinking.backends.openai.logprobs import split_at_tokens
from langchain_spec_thinking.backends.openai.reply_fields import ReplyFieldsReader
from langchain_spec_thinking.backends.openai.reported_usage import usage_of
from langchain_spec_thinking.backends.replies.call_reader import CallReader
from langchain_spec_thinking.backends.replies.finish_reasons import FinishReason
from langchain_spec_thinking.backends.replies.message_parts import (
    MessageParts,
    UnknownParts,
    content_parts,
    reasoning_text,
)
from langchain_spec_thinking.backends.replies.reasoning_field import ReasoningFieldJoiner
from langchain_spec_thinking.backends.replies.refusals import RefusalReader
from langchain_spec_thinking.backends.replies.thought_reader import payload_thoughts
from langchain_spec_thinking.backends.replies.tool_call_deltas import ToolCallDeltas
from langchain_spec_thinking.surrogates import SurrogateJoiner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_spec_thinking.backends.openai.logprobs import Part
    from langchain_spec_thinking.backends.replies.continuation import Payload
    from langchain_spec_thinking.backends.replies.thought_reader import ThoughtDelivery
    from langchain_spec_thinking.turn import Turn

_PLAIN = frozenset({"content", "role"})
"""Fields of a delta that has nothing but text."""
_RECENT_CHUNKS = 64
"""How many chunks are kept to recognise one that a server sends again."""


class UnreadableEventError(ValueError):
    """An event of a stream has an unexpected form."""


class ChunkReader:
    """Reads the chunks of one response.

    Missing usage, a missing finish reason, empty choices and null deltas are allowed. If the server numbers its chunks,
    a repeated chunk is read once. If it numbers them on request, this also holds if up to 64 other chunks came in
    between, and text that comes after later text is not read.

    Args:
        payload: What was sent.
        turn: The turn that is continued.
        max_tokens: Most tokens that were asked for.
        count_tokens: Counts the tokens of a piece. None means that each chunk counts as one token, unless it is long.
        thought_delivery: How the model's thoughts arrive, as earlier replies showed.
        hidden_tokens: How many further tokens may be spent on reasoning that does not belong to the turn.
        model: The model and its server, as in `Message.reply_fields`.
        reasoning_in_total: Whether the server is known to count the reasoning only in the total of its usage.
        numbered: Whether the server is known to report in each chunk how many tokens came so far. Other servers may
            report other numbers.
        name: The name of the model, for notes.

    Attributes:
        brought_text: Whether the last chunk brought text, reasoning, or a part of a call.
        unordered: Whether text came after later text.
    """

    def __init__(
        self,
        payload: Payload,
        turn: Turn,
        max_tokens: int,
        count_tokens: Callable[[str], int] | None,
        thought_delivery: ThoughtDelivery | None = None,
        *,
        hidden_tokens: int = 0,
        reasoning_in_total: bool = False,
        model: str = "",
        numbered: bool = False,
        name: str = "the model",
    ) -> None:
        self._endpoint = payload.endpoint
        self._echo = payload.echo_filter()
        self._max_tokens = max_tokens
        self._hidden_max = hidden_tokens
        self._hidden = 0  # number of tokens of reasoning that have used this room
        self._reasoning_in_total = reasoning_in_total
        self._model = model
        self._count = count_tokens
        last = payload.body.get("messages", [{}])[-1]
        self._dropped = ""  # the reasoning and the refusal of the last chunk, if they do not belong to the turn
        self._reasoning = ReasoningFieldJoiner(
            turn,
            drops_reasoning=payload.drops_reasoning,
            in_reasoning_field="reasoning_content" in last,
            delivery=None if payload.repeats else thought_delivery,  # a repetition of the thought comes as content, too
        )
        self._name = name
        self._unknown_parts = UnknownParts()
        self._refusal = RefusalReader()
        self._notes: list[str] = []
        self._calls = CallReader(payload.plan, payload_thoughts(turn, payload, thought_delivery), name)
        self._native_calls = ToolCallDeltas()
        self._reply_fields = ReplyFieldsReader(keeps_reasoning=payload.drops_reasoning)
        self.brought_text = self.unordered = False
        self._numbered = numbered
        self._last_number = 0  # of a chunk with text
        self._chunks = 0
        self._recent: deque[object] = deque(maxlen=_RECENT_CHUNKS if numbered else 1)
        self._text_chunks = 0
        self._tokens = 0
        self._finish_reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._surrogates = SurrogateJoiner()
        self._top: tuple[float, ...] | None = None  # log-probabilities of the first token of the held text

    def read(self, chunk: object) -> Iterator[Event]:
        """Read one chunk of a completion or a chat completion.

        Raises:
            UnreadableEventError: A field that should contain text has another type.
        """
        self.brought_text = False
        if self._repeated(chunk):
            return
        self._chunks += 1
        usage, choices = usage_of(chunk, reasoning_in_total=self._reasoning_in_total), field(chunk, "choices")
        if usage and not self._usage and choices:
            # vLLM reports the prompt at once on request. A stream that is closed early reports nothing else.
            yield Usage(usage.prompt_tokens, usage.cached_tokens)
        self._usage = usage or self._usage
        choice, parts, called = self._content(chunk, choices)
        self._note_text(parts, called, usage)
        if self.unordered:
            return
        self._tokens += self._count_tokens(called) if called else 0
        self._count_dropped()
        yield from (Limitation(f"{self._name}: {note}.") for note in self._notes)
        self._notes.clear()
        yield from self._pass_on(parts)
        self._finish_reason = FinishReason.of(field(choice, "finish_reason")) or self._finish_reason

    @property
    def empty(self) -> bool:
        """Whether no chunk was read."""
        return not self._chunks

    @property
    def finished(self) -> bool:
        """Whether the server sent a finish reason that ends the reply."""
        return self._finish_reason is not None and self._finish_reason.ends_reply

    @property
    def failure(self) -> str | None:
        """The finish reason of a server that could not finish the reply. None: there is none."""
        reason = self._finish_reason
        return None if reason is None or reason.ends_reply else reason.word

    @property
    def full(self) -> bool:
        """Whether the output is complete: the token limit is reached, or the only allowed call was made."""
        return self._tokens >= self._max_tokens or self._calls.done

    @property
    def exceeded(self) -> bool:
        """Whether the server wrote more than it was asked for. The rest of the stream must not be read."""
        return self._tokens > self._max_tokens

    def end_of_thought(self) -> Iterator[Event]:
        """Yield the end of a thought after which only white space came. A reply that is resumed needs to know of it."""
        if text := self._surrogates.join(self._reasoning.rest()):
            yield from self._pieces(self._echo.pass_on(text))

    def rest(self) -> Iterator[Event]:
        """Yield the text that is still held when no more chunks come.

        A repetition that the token limit cut off is not shown. Its tokens are counted, because they were spent.
        """
        cut = self._finish_reason is not None and self._finish_reason.end_reason == "length"
        yield from self.end_of_thought()
        yield from self._pieces(self._echo.pass_on(self._surrogates.rest()) + self._echo.rest(cut=cut))
        if dropped := self._echo.dropped:
            tokens = self._count_tokens(dropped)
            self._tokens += tokens
            yield Piece("", tokens)

    def calls(self) -> Iterator[Event]:
        """Yield the calls that are complete only at the end of the stream."""
        yield from self._calls.rest()
        if self.exceeded:
            self._native_calls.drop_incomplete()
        finished = dict(self._native_calls.finished())
        if fields := self._reply_fields.fields(finished):
            yield ReplyFields({"model": self._model, **fields})
        for call in finished.values():
            yield Call(call, self._count_tokens(f"{call.name}{call.arguments}") if self._count else 1)

    def end(self) -> End:
        """Return the finish reason and the usage."""
        if self.exceeded:  # the stream was closed, so the server could not report its usage
            return End("length", Usage(completion_tokens=self._tokens + self._hidden))
        refusal, reason = self._refusal.refusal, self._finish_reason
        if reason and reason.ends_reply:
            return End(reason.end_reason, self._usage, reason.unusual_word, refusal)
        return End("length" if self._tokens >= self._max_tokens else "stop", self._usage, refusal=refusal)

    def _content(self, chunk: object, choices: Any) -> tuple[object, list[Part], str]:  # noqa: ANN401 - a server may send any value
        """Return the first choice, its text split at tokens, and what it adds to calls.

        Raises:
            UnreadableEventError: A field that should contain text has another type.
        """
        try:
            choice = next(iter(choices or ()), None)
            delta = field(choice, "delta")
            text = self._surrogates.join(self._text(choice, delta))
            parts = split_at_tokens(text, field(choice, "logprobs"))
            return choice, parts, self._add_calls(field(delta, "tool_calls"))
        except (AttributeError, KeyError, TypeError) as e:
            msg = f"unreadable event in the stream: {str(chunk)[:200]}"
            raise UnreadableEventError(msg) from e

    def _count_dropped(self) -> None:
        """Count what does not belong to the turn. Beyond the room for hidden reasoning, it counts as output."""
        if self._dropped:
            tokens = self._count_tokens(self._dropped)
            hidden = min(tokens, self._hidden_max - self._hidden)
            self._hidden += hidden
            self._tokens += tokens - hidden

    def _add_calls(self, parts: object) -> str:
        """Add parts of native calls. Return their names and arguments."""
        called = ""
        for part in _objects(parts):
            index, call_id, function = (field(part, name) for name in ("index", "id", "function"))
            name, arguments = (field(function, name) for name in ("name", "arguments"))
            called += self._native_calls.add(index, call_id, name, arguments)
            self._reply_fields.read_call(part, self._native_calls.position)
        return called

    def _note_text(self, parts: list[Part], called: str, usage: Usage | None) -> None:
        """Note whether a chunk brings text, and whether this text comes after later text."""
        has_text = any(part for part, _ in parts)
        self._text_chunks += has_text
        self.brought_text = bool(has_text or called or self._dropped)
        self.unordered = self._numbered and self.brought_text and self._goes_back(usage)

    def _pass_on(self, parts: list[Part]) -> Iterator[Event]:
        """Yield text that is no echo, with the log-probabilities of its first token."""
        for part, top_logprobs in parts:
            self._top = self._top or top_logprobs
            yield from self._pieces(self._echo.pass_on(part))
            if part and not self._echo.holds:
                self._top = None  # their text was passed on or was an echo

    def _pieces(self, text: str) -> Iterator[Event]:
        if text:
            tokens = self._count_tokens(text)
            self._tokens += tokens
            top, self._top = self._top, None
            yield from self._calls.read(text, tokens, top)

    def _count_tokens(self, text: str) -> int:
        """Count the tokens of a part of the output. Without a tokenizer, a long part counts as few tokens as it can."""
        return max(1, self._count(text) if self._count else len(text) // TOKEN_CHARACTERS_MAX)

    def _repeated(self, chunk: object) -> bool:
        """Return whether a chunk was sent twice, as opposed to a model that repeats itself.

        With `continuous_usage_stats`, vLLM and SGLang report in each chunk how many tokens came so far. This number
        differs between any two chunks that bring text. If the number is lower than the number of these chunks, it
        counts something else. If the server is known to report this number, an older chunk is recognised, too: its
        number is not higher than the last one, and nothing else may come with the same number and the same text.
        """
        count = field(field(chunk, "usage"), "completion_tokens") or 0
        if not isinstance(count, int):
            return False
        highest = self._last_number if self._numbered else count
        if 0 < count <= highest >= self._text_chunks and chunk in self._recent:
            return True
        self._recent.append(chunk)
        return False

    def _goes_back(self, usage: Usage | None) -> bool:
        """Return whether a chunk with text has a lower number than an earlier one."""
        number = (usage and usage.completion_tokens) or self._last_number
        goes_back, self._last_number = number < self._last_number, number
        return goes_back

    def _text(self, choice: object, delta: object) -> str:
        if self._endpoint == "completions":
            return "".join([field(choice, "text") or ""])
        if (plain := plain_text(delta)) is not None:  # nearly every chunk
            self._refusal.note_text(plain)
            text = self._reasoning.join("", plain)
            self._dropped = self._reasoning.dropped
            return text
        found = message_parts(delta)
        self._notes += self._unknown_parts.notes(found.unknown)
        shown, unshown = self._refusal.read(found)
        self._reply_fields.read(delta, found.reasoning)
        text = self._reasoning.join(found.reasoning, shown)
        self._dropped = f"{self._reasoning.dropped}{unshown}"
        self._notes += self._reasoning.new_notes()
        return text


def plain_text(delta: object) -> str | None:
    """Return the text of a delta that has nothing else, or None if it may have something else."""
    if not isinstance(delta, dict):
        return None
    content = delta.get("content")
    return content if isinstance(content, str) and _PLAIN.issuperset(delta) else None


def message_parts(message: object) -> MessageParts:
    """Return the reasoning, the text and the refusal of a message or a delta.

    The reasoning may be a field (`reasoning` in vLLM, `reasoning_content` elsewhere, a list `reasoning_details` in
    OpenRouter) or a part of the content (Mistral, Databricks).
    """
    found = content_parts(field(message, "content"))
    thought = field(message, "reasoning") or field(message, "reasoning_content")
    thought = thought or reasoning_text(field(message, "reasoning_details"))
    refusal = field(message, "refusal") or ""
    for name, value in (("reasoning", thought), ("refusal", refusal)):
        if not isinstance(value, str):
            msg = f"{name}: expected text, got {value!r}"
            raise TypeError(msg)
    return found._replace(reasoning=thought + found.reasoning, refusal=f"{found.refusal}{refusal}")


def _objects(parts: Any) -> Iterator[object]:  # noqa: ANN401 - a server may send any value
    """Yield the parts of a list of objects.

    Raises:
        TypeError: The value is not a list, or a part is not an object.
    """
    for part in parts or ():
        if isinstance(part, (str, int, float, list)) or part is None:
            msg = f"expected an object, got {part!r}"
            raise TypeError(msg)
        yield part

"""Finds the thought in a model's text, and passes it on between `<think>` and `</think>`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from langchain_spec_thinking.backends.replies.harmony_reader import HarmonyReader
from langchain_spec_thinking.backends.replies.lone_closing_tag import LoneClosingTag
from langchain_spec_thinking.backends.replies.reply_parts import Part
from langchain_spec_thinking.backends.replies.thought_formats import (
    CHANNEL,
    HARMONY,
    START,
    STRIPPED,
    THINK,
    THOUGHT_FORMATS,
    UNMISTAKABLE_FORMATS,
    ThoughtFormat,
)
from langchain_spec_thinking.backends.replies.waiting import take_until
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from langchain_spec_thinking.backends.replies.continuation import Payload
    from langchain_spec_thinking.turn import Turn

_BLANK_MAX = 64
"""How much white space at the start of a reply is held, in characters. A think tag may follow it."""
_JSON_STARTS = '{["`-0123456789'
"""The first characters of JSON, or of a code block that holds it."""
SHOWN_THOUGHT = (
    f"a lone {THINK_CLOSE} ended a thought. The thought was shown as a part of the answer, because nothing marked its "
    "beginning. The next reply is held until it shows whether it begins with a thought too. Pass `thinking=True` or "
    "`tokenizer=` to know it at once"
)
STRIPPED_HARMONY = (
    "the server removes the control tokens of gpt-oss. The words `analysis` and `assistantfinal` showed where the "
    "thought ends. Tool calls inside it cannot be recognised. Use a server that reads harmony"
)


@dataclass
class ThoughtDelivery:
    """How the thoughts of a model arrive. All backends with the same model, server and settings share it.

    Attributes:
        thinking: What the user says about the model: whether it reasons. None: the user does not say it.
        continues_in_field: Whether the rest of a thought came in the reasoning field although its beginning was sent as
            text. The server has a reasoning parser that does so for every such thought.
        in_field: Whether any reasoning came in the reasoning field. Content then holds no thought.
        opened_by_prompt: Whether the last reply had a thought without the marker that opens it. The prompt of the
            server may contain the marker. So the next reply is held until a closing marker comes. If none comes, the
            reply was an answer, and the next one is not held.
        thought_format: The format of the last thought in the text. None: no thought came in the text.
    """

    thinking: bool | None = None
    continues_in_field: bool = False
    in_field: bool = False
    opened_by_prompt: bool = False
    thought_format: ThoughtFormat | None = None

    @property
    def may_be_unmarked(self) -> bool:
        """Whether the next reply may begin with a thought that nothing marks."""
        return self.opened_by_prompt and not self.in_field and self.thinking is not False


class ThoughtReader:
    """Splits a reply into its thought and its answer.

    The reply may be cut into pieces in any way. Text is held only while it may be a marker, or while it is not certain
    whether it is a thought.

    Args:
        turn: The turn that is continued.
        form: The format of the model's thoughts. None: any format.
        opened: Whether the prompt of the server opens a thought, as the model's chat template shows.
        drops: Whether to drop a thought, because it does not belong to the turn.
        delivery: How the model's thoughts arrive, as earlier replies showed.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        form: ThoughtFormat | None = None,
        opened: bool = False,
        drops: bool = False,
        delivery: ThoughtDelivery | None = None,
    ) -> None:
        self._delivery = delivery or ThoughtDelivery()
        self._forms = tuple({form: 0, THINK: 0}) if form else _forms(self._delivery)
        self._form = form or self._delivery.thought_format or THINK
        self._opened = opened and not self._delivery.in_field
        self._drops = drops
        self._in_json = turn.schema is not None
        self._expects_thought = turn.channel == "thinking"
        # Whether a closing tag without an opening one may come.
        self._watches = not turn.thinks and self._delivery.thinking is not False
        self._harmony: HarmonyReader | None = None
        self._turn = turn
        self._held = ""
        self._maybe_thought: list[str] = []  # text that is a thought if a closing marker follows
        self._state = "start"
        if not drops and turn.is_begun:
            self._state = "thought" if self._expects_thought and THINK_CLOSE not in turn.pending else "answer"
        begun = self._watches and self._state == "answer"
        self._tag = LoneClosingTag(f"{turn.answer}{turn.pending}" if begun else "")

    @property
    def holds(self) -> bool:
        """Whether text is held."""
        return bool(self._held or self._tag.held or self._maybe_thought or (self._harmony and self._harmony.holds))

    @property
    def ended(self) -> bool:
        """Whether the model has ended its reply, so that nothing else is read."""
        return self._harmony is not None and self._harmony.ended

    def feed(self, text: str) -> Iterator[Part]:
        """Read more text, and yield what is certain now."""
        self._held += text
        yield from self._advance(final=False)

    def rest(self) -> Iterator[Part]:
        """Yield what is still held when no more text comes."""
        yield from self._advance(final=True)
        yield from self._release()

    def _advance(self, *, final: bool) -> Iterator[Part]:
        state = ""
        while state != self._state:
            state = self._state
            yield from self._READ[state](self, final)

    def _start(self, final: bool) -> Iterator[Part]:  # noqa: FBT001 - called from a table
        text = self._held.lstrip()
        if len(self._held) - len(text) >= _BLANK_MAX:
            self._begin_text()
            return
        if not text and not final:
            return
        if opening := next((form for form in self._forms if text.startswith(form.opens)), None):
            self._form = self._delivery.thought_format = opening
            self._held = text.removeprefix(opening.opens)
            yield from self._open_thought()
        elif text.startswith((CHANNEL, START)):
            self._harmony, self._state = HarmonyReader(self._turn, rendered=False, drops=self._drops), "harmony"
        elif text and not final and any(mark.startswith(text) for mark in self._openings):
            return
        elif text.startswith(STRIPPED.opens) and text[len(STRIPPED.opens) :][:1].strip():
            yield from self._start_stripped(text.removeprefix(STRIPPED.opens))
        elif self._may_be_thought(text):
            self._state = "unsure"
        elif self._opened and not self._drops and not self._in_json and not self._expects_thought:
            yield from self._open_thought()
        else:
            self._begin_text()

    def _start_stripped(self, after: str) -> Iterator[Part]:
        """Begin a reply that may be harmony without its control tokens. An answer may begin with `analysis:`, too."""
        self._form = STRIPPED
        if after[0].isalpha() and not after[0].islower():
            self._held = after
            yield Part("", note=STRIPPED_HARMONY)
            yield from self._open_thought()
        elif self._expects_thought:
            self._begin_text()
        else:
            self._state = "unsure"

    def _begin_text(self) -> None:
        """Pass on the text of the channel of the turn."""
        self._state, self._drops = "thought" if self._expects_thought else "answer", False

    def _may_be_thought(self, text: str) -> bool:
        """Return whether a reply without an opening marker may begin with a thought, and must be held until then."""
        if self._expects_thought:
            return False
        if self._in_json:
            return self._delivery.thinking is not False and not text.startswith(tuple(_JSON_STARTS))
        return self._drops if self._opened else self._delivery.may_be_unmarked

    def _open_thought(self) -> Iterator[Part]:
        self._state = "thought"
        if not self._drops:
            yield Part(THINK_OPEN, thought=True)

    def _thought(self, final: bool) -> Iterator[Part]:  # noqa: FBT001
        text, mark = self._take_until(self._closes, final=final)
        if text and not self._drops:
            yield Part(text, thought=True)
        if mark:
            yield from self._close_thought()

    def _hold(self, final: bool) -> Iterator[Part]:  # noqa: FBT001
        """Hold text that is a thought if a closing marker follows."""
        if self._form == STRIPPED:
            text, found = self._take_until((STRIPPED.closes,), final=final)
        elif self._in_json or self._opened:
            text, found = self._take_until(self._closes, final=final)
        else:
            text, ended = self._tag.take(self._held, final=final)
            found, self._held = THINK_CLOSE if ended else "", self._tag.held if ended else ""
            self._tag.held = "" if ended else self._tag.held
        self._maybe_thought.append(text)
        if found:
            yield from self._found_thought()
        elif not self._tag.searches:  # the reply is about tags
            yield from self._release()

    def _found_thought(self) -> Iterator[Part]:
        """Pass on the held text as a thought."""
        thought = "".join(self._maybe_thought).lstrip()
        self._maybe_thought.clear()
        if self._form == STRIPPED:
            thought = thought.removeprefix(STRIPPED.opens)
            yield Part("", note=STRIPPED_HARMONY)
        else:
            self._delivery.opened_by_prompt = True
        if not self._drops:
            yield Part(THINK_OPEN + thought, thought=True)
        yield from self._close_thought()

    def _release(self) -> Iterator[Part]:
        """Pass on the held text as an answer, because no closing marker followed it."""
        text, self._held = "".join(self._maybe_thought) + self._held, ""
        self._maybe_thought.clear()
        if self._state == "unsure":
            self._delivery.opened_by_prompt = self._watches = False
            self._state = "answer"
        if text:
            yield Part(text)

    def _close_thought(self) -> Iterator[Part]:
        self._watches = False
        if self._drops:
            self._begin_text()
        else:
            self._state = "answer"
            yield Part(THINK_CLOSE, thought=True)

    def _answer(self, final: bool) -> Iterator[Part]:  # noqa: FBT001
        text, self._held = self._held, ""
        ended = False
        if self._watches:
            text, ended = self._tag.take(text, final=final)
        if text:
            yield Part(text)
        if ended:
            self._watches, self._delivery.opened_by_prompt = False, True
            yield Part("", note=SHOWN_THOUGHT)
            after, self._tag.held = self._tag.held, ""
            if after:
                yield Part(after)

    @property
    def _openings(self) -> tuple[str, ...]:
        return (*(form.opens for form in self._forms), CHANNEL, START, STRIPPED.opens)

    @property
    def _closes(self) -> tuple[str, ...]:
        return (self._form.closes, THINK_CLOSE)

    def _take_until(self, marks: Iterable[str], *, final: bool) -> tuple[str, str]:
        """Take the held text up to the first mark, and return it with the mark. The mark is empty if there is none."""
        text, mark, self._held = take_until(self._held, marks, final=final)
        return text, mark

    def _read_harmony(self, final: bool) -> Iterator[Part]:  # noqa: FBT001
        text, self._held = self._held, ""
        if self._harmony:
            yield from self._harmony.feed(text)
            if final:
                yield from self._harmony.rest()

    _READ: ClassVar[Mapping[str, Callable[[ThoughtReader, bool], Iterator[Part]]]] = {
        "start": _start,
        "thought": _thought,
        "unsure": _hold,
        "answer": _answer,
        "harmony": _read_harmony,
    }


AnyReader = ThoughtReader | HarmonyReader


def _forms(delivery: ThoughtDelivery) -> tuple[ThoughtFormat, ...]:
    """Return the formats in which a model may write its thoughts if its chat template is not known."""
    return tuple(THOUGHT_FORMATS.values()) if delivery.thinking else UNMISTAKABLE_FORMATS


def answer_thoughts(turn: Turn, form: ThoughtFormat | None = None) -> AnyReader | None:
    """Return a reader for the text of a model whose prompt is rendered here.

    A structured answer may begin with a thought. If the turn has a thought already, another one is dropped.

    Args:
        turn: The turn that is continued.
        form: The format of the model's thoughts. None: the common one.

    Returns:
        The reader; None if the text needs none, because the thought has the common format and no call can be in it.
    """
    structured = turn.structured_answer and turn.answer_is_empty
    if form == HARMONY:
        return HarmonyReader(turn, drops=structured and turn.thinks)
    if form in {None, THINK} and not structured:
        return None
    return ThoughtReader(turn, form=form or THINK, drops=structured and turn.thinks)


def payload_thoughts(turn: Turn, payload: Payload, delivery: ThoughtDelivery | None = None) -> AnyReader | None:
    """Return a reader for the text of a server or a chat model.

    Args:
        turn: The turn that is continued.
        payload: What was sent.
        delivery: How the model's thoughts arrive, as earlier replies showed.

    Returns:
        The reader; None if the text needs none.
    """
    if payload.endpoint == "completions":
        return answer_thoughts(turn, payload.thoughts)
    again = turn.structured_answer and turn.answer_is_empty and turn.thinks
    return ThoughtReader(
        turn,
        form=None if payload.thoughts == HARMONY else payload.thoughts,  # most servers read harmony themselves
        opened=payload.opens_thought,
        drops=payload.drops_reasoning or again,
        delivery=delivery,
    )

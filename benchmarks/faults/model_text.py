"""The text that every scripted model writes, and where a half-written reply stands in it. Pure."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.turn import THINK_CLOSE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.faults.dialects import Part

_OPENING = "<think>\n"
_THOUGHT = ("I add two and two.", "\n", "\n", "Wait", ",", " no.")
_CLOSING = ("\n", "</think>", "\n\n")
_ANSWER = ("It is", " \u00e9.")
FURTHER = " on"
"""What a model writes again and again if it does not end."""
_FOUND_BY = 6
"""How many characters find the place in the text if a client has damaged the text before them."""
_DRAFT = "<draft>\n"


@dataclass(frozen=True, slots=True)
class ModelText:
    """The whole text of a model, in tokens.

    Attributes:
        thinks: Whether the text begins with a thought.
    """

    thinks: bool

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, with the think tags."""
        return (*(("<think>", "\n") if self.thinks else ()), *_THOUGHT, *self._closing, *_ANSWER)

    @property
    def text(self) -> str:
        """The whole text, with the think tags."""
        return "".join(self.tokens)

    @property
    def shown(self) -> tuple[str, str]:
        """The thought and the answer that a user must see, without white space around them."""
        if self.thinks:
            return "".join(_THOUGHT), "".join(_ANSWER)
        return "", "".join((*_THOUGHT, *self._closing, *_ANSWER))

    @property
    def thought_start(self) -> int:
        """Where the thought begins, in characters."""
        return len(_OPENING) if self.thinks else 0

    @property
    def answer_start(self) -> int:
        """Where the answer begins, in characters."""
        return len(self.text) - len("".join(_ANSWER)) if self.thinks else 0

    def place(self, given: str) -> int:
        """Return how much of the text is given, in characters."""
        for end in (given, given.rstrip()):
            if self.text.startswith(end):
                return len(end)
        found = self.text.rfind(given[-_FOUND_BY:])
        return 0 if found < 0 else found + len(given[-_FOUND_BY:])

    def rest(self, start: int) -> Iterator[tuple[str, int]]:
        """Yield the tokens from a place on, each with its own place in characters."""
        ends = itertools.accumulate(len(token) for token in self.tokens)
        for token, end in zip(self.tokens, ends, strict=True):
            if end > start:
                yield token[-(end - start) :] if end - start < len(token) else token, max(start, end - len(token))

    def part(self, place: int) -> Part | None:
        """Return what the text at a place belongs to. None: to the markup between thought and answer."""
        if not self.thinks or place >= self.answer_start:
            return "text"
        return "thought" if self.thought_start <= place < self.text.find(THINK_CLOSE) else None

    @property
    def _closing(self) -> tuple[str, ...]:
        return _CLOSING if self.thinks else ("\n\n",)


@dataclass(frozen=True, slots=True)
class Given:
    """What a request says about the reply so far.

    Attributes:
        text: The reply so far, with the think tags.
        prompt: The whole prompt, if the client renders it.
        begun: Whether the request asks to continue a reply.
        in_field: Whether the thought so far is in its own field.
        instructed: Whether the client only instructs the model to continue.
        finished_thought: Whether the model is instructed to write the answer to a finished thought.
    """

    text: str = ""
    prompt: str = ""
    begun: bool = False
    in_field: bool = False
    instructed: bool = False
    finished_thought: bool = False


def token_limit(body: dict[str, Any]) -> int:
    """Return the token limit of a request, whose field has another name for OpenAI's own server."""
    limit: int = body["max_completion_tokens"] if "max_completion_tokens" in body else body["max_tokens"]
    return limit


def given_by(body: dict[str, Any], model: ModelText) -> Given:
    """Read the reply so far from the body of a request."""
    if "prompt" in body:
        prompt = _within_text(body["prompt"])
        text = next(model.text[:end] for end in range(len(model.text), -1, -1) if prompt.endswith(model.text[:end]))
        return Given(text, body["prompt"], begun=len(text) > model.thought_start)
    before, last = [{}, *body["messages"]][-2:]
    return _instructed(before, last["content"], model) if last["role"] != "assistant" else _open_message(last)


def _within_text(given: str) -> str:
    """Return a reply without what a model that does not end has added to its text."""
    while given.endswith(FURTHER):
        given = given.removesuffix(FURTHER)
    return given


def _open_message(message: dict[str, Any]) -> Given:
    """Read the reply so far from a last message that the model must continue."""
    content, thought = _within_text(message["content"]), message.get("reasoning_content")
    if thought is None:
        return Given(content, begun=True)
    closed = f"{thought.rstrip()}{''.join(_CLOSING)}{content}" if content else thought
    return Given(f"{_OPENING}{closed}", begun=True, in_field=True)


def _instructed(before: dict[str, Any], instruction: str, model: ModelText) -> Given:
    """Read the reply so far from an instruction to continue it, or from a new question."""
    if before.get("role") == "assistant":
        answer = model.text[: model.answer_start] + _within_text(before["content"])
        return Given(answer, begun=True, instructed=True)
    words, draft, thought = instruction.rpartition(_DRAFT)
    if not draft:
        return Given()
    if THINK_CLOSE not in words:
        return Given(model.text[: model.answer_start], begun=True, instructed=True, finished_thought=True)
    return Given(_OPENING + thought.removesuffix("</draft>"), begun=True, instructed=True)

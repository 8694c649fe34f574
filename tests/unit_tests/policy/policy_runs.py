"""Helpers that run the policy on given streams and write its commands as a transcript."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from langchain_spec_thinking.policy import CueTrigger, DelegationPolicy, Lexicon
from langchain_spec_thinking.policy.commands import (
    CloseThinking,
    Command,
    Commit,
    Drop,
    EndReason,
    Finish,
    Generate,
    Insert,
    Note,
    OpenThinking,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from langchain_spec_thinking.policy import Delegation

LENGTH: Final = "length"
NO_VERIFICATION = DelegationPolicy(trigger=CueTrigger(Lexicon(verification=())))
"""The policy of the paper without verification, for cases that test other rules."""


@dataclass(frozen=True)
class Stream:
    """The whole text that a model would write if its stream were not stopped.

    Attributes:
        top: Log-probabilities of the most likely tokens, by the position of the token, in characters.
    """

    text: str
    reason: EndReason = "stop"
    top: Mapping[int, tuple[float, ...]] = field(default_factory=dict)

    def first(self, characters: int) -> Stream:
        """Return the stream as a model writes it that must stop after some characters."""
        short = len(self.text) <= characters
        return self if short else Stream(self.text[:characters], LENGTH, self.top)

    def pieces(self, chunks: Iterable[str]) -> Iterator[tuple[str, tuple[float, ...] | None]]:
        """Also cut chunks at the tokens in `top`, because a piece has log-probabilities for its first token only."""
        start = 0
        for chunk in chunks:
            end = start + len(chunk)
            for a, b in pairwise(sorted({start, end} | {at for at in self.top if start < at < end})):
                yield self.text[a:b], self.top.get(a)
            start = end


def as_one_chunk(text: str) -> list[str]:
    return [text]


def run_policy(
    machine: Delegation,
    streams: Iterable[Stream | str],
    split: Callable[[str], Sequence[str]] = as_one_chunk,
    received: list[str] | None = None,
    *,
    counted: bool = False,
) -> list[Command]:
    """Run the policy until it finishes, or until no stream is left.

    Args:
        machine: The state machine. It must not be started yet.
        streams: The texts of the models, one after the other.
        split: A function that cuts the text of a stream into chunks.
        received: A list that collects the text that the policy received from each stream before it ended the stream.
        counted: Whether each character is a token. A stream then ends at the limit of its request. False: texts have no
            tokens.
    """
    commands = machine.start()
    received = [] if received is None else received
    for stream in streams:
        if isinstance(commands[-1], Finish):
            break
        stream = Stream(stream) if isinstance(stream, str) else stream  # noqa: PLW2901
        if counted:
            stream = stream.first(last_request(commands).max_tokens)  # noqa: PLW2901
        received.append("")
        for chunk, top_logprobs in stream.pieces(split(stream.text)):
            received[-1] += chunk
            new = machine.receive(chunk, len(chunk) if counted else 0, top_logprobs)
            commands += new
            if _ends_stream(new):
                break
        else:
            commands += machine.end(stream.reason)
    return commands


def last_request(commands: Sequence[Command]) -> Generate:
    """Return the running request."""
    return next(command for command in reversed(commands) if isinstance(command, Generate))


def transcript(commands: Iterable[Command]) -> list[str]:
    """Write each command as one line. Adjacent commits are joined, because the size of a piece does not matter."""
    lines: list[str] = []
    for command in commands:
        match command:
            case Generate(author, tokens, kind, cue):
                line = f"{author} {kind} {tokens}" + (f" ({cue})" if cue else "")
            case Commit(text, _, kind):
                if lines and lines[-1].startswith("+ "):
                    lines[-1] += text
                    continue
                line = f"+ {text}"
            case Drop(text):
                line = f"- {text}"
            case Insert(text) | Note(text):
                line = f"{type(command).__name__.lower()} {text}"
            case OpenThinking():
                line = "open"
            case CloseThinking(markup):
                line = f"close {markup!r}"
            case Finish(reason):
                line = f"finish {reason}"
        lines.append(line)
    return lines


def _ends_stream(commands: Sequence[Command]) -> bool:
    return any(isinstance(command, (Generate, Finish)) for command in commands)

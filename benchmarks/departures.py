"""How many of 240 scripted turns each departure from the reference implementation changes.

`docs/method.md` shows the table. `python -m benchmarks.departures` prints it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final
from zlib import crc32

from langchain_spec_thinking.policy import CueTrigger, Delegation, DelegationPolicy, Lexicon, ReferenceRules
from langchain_spec_thinking.policy.commands import CloseThinking, Commit, Finish, Generate, Insert
from langchain_spec_thinking.turn import THINK_CLOSE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_spec_thinking.policy.commands import Command

TURNS = 240
MAX_TOKENS = 2000
REFERENCE = DelegationPolicy.paper()


def _with(**rules: bool) -> DelegationPolicy:
    return DelegationPolicy(reference_rules=ReferenceRules(**rules))


_DEFAULT = DelegationPolicy()
DEPARTURES: Final[Mapping[str, tuple[DelegationPolicy, DelegationPolicy]]] = {
    "cues are whole words": (_DEFAULT, DelegationPolicy(CueTrigger(Lexicon(substrings=True)))),
    "a draft is a sentence, and its first cue decides": (_DEFAULT, _with(whole_drafts=True)),
    "takeovers end at words": (_DEFAULT, _with(exact_lengths=True)),
    "a boundary at the end of a takeover counts": (_DEFAULT, _with(skip_boundary_after_takeover=True)),
    "one model writes the answer": (_DEFAULT, _with(in_answer=True)),
    "all of these": (_DEFAULT, REFERENCE),
    "a takeover always replaces the draft": (REFERENCE, DelegationPolicy.paper(choose_large=False)),
}
"""For each departure in words: a policy, and the same policy without the departure."""

_PLAIN = (
    " so",
    " the",
    " sum",
    " is",
    " seven",
    " we",
    " add",
    " two",
    " and",
    " then",
    " of",
    " it",
    " gives",
    " three",
)
_LONG = {" multi": "plication", " equa": "tion", " deno": "minator", " sub": "traction", " to": "gether"}
"""Words of two tokens. The first token leads to the second one, whichever model wrote it."""
_SUBSTRINGS = (" eyes", " yesterday", " waiting", " checkers")
"""Words that contain a cue, but are none."""
_CUES = ("Wait", "Yes", "Alternatively", "Hold on", "Let me check")
_STARTS = ("So", "Then", "Now", "The sum", "We see", "Next", "This is")


class ScriptedModels:
    """Two models that write token by token. The next token depends only on the text so far, as in greedy decoding.

    Args:
        seed: Number of the turn.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._thought = 200 + 50 * (seed % 8)  # length of the thought, in characters
        self._answer = 60 + 30 * (seed % 5)

    def tokens(self, author: str, context: str) -> Iterator[str]:
        """Yield the tokens with which a model continues a text, to the end of the turn."""
        while token := self._next(author, context):
            yield token
            context += token

    def _next(self, author: str, context: str) -> str:
        """Return the next token; an empty string if the turn is over."""
        number = crc32(f"{self._seed} {author} {len(context)} {context[-30:]}".encode())
        fixed = self._fixed(context)
        if fixed is not None:
            return fixed
        if not context or context.endswith("\n\n"):
            rarely = 3 if author == "speculative" else 6  # the large model doubts less
            return _pick(_STARTS if number % rarely else _CUES, number // 7)
        if number % 11 == 0 and not context.endswith(_STARTS + _CUES):
            return self._end_of_step(context)
        return _word(number)

    @staticmethod
    def _fixed(context: str) -> str | None:
        """Return the only token that can follow a text; None if several can."""
        _, closed, answer = context.partition(THINK_CLOSE)
        if closed and not answer:
            return "\n\n"
        if closed and answer.endswith("."):
            return ""
        if not closed and context.endswith(".\n"):
            return THINK_CLOSE
        return next((rest for first, rest in _LONG.items() if context.endswith(first)), None)

    def _end_of_step(self, context: str) -> str:
        thought, closed, answer = context.partition(THINK_CLOSE)
        if closed:
            return "." if len(answer) > self._answer else ".\n\n"
        return ".\n" if len(thought) > self._thought else ".\n\n"


def _word(number: int) -> str:
    if number % 97 == 0:
        return _pick(_SUBSTRINGS, number // 97)
    if number % 83 == 0:
        return " yes" if number % 2 else " wait"
    return _pick(tuple(_LONG), number // 13) if number % 9 == 0 else _pick(_PLAIN, number // 13)


def _pick(words: Sequence[str], number: int) -> str:
    return words[number % len(words)]


def write(policy: DelegationPolicy, seed: int) -> list[tuple[str, str]]:
    """Write a scripted turn, and return its parts: the author and the text of each."""
    models, machine = ScriptedModels(seed), Delegation(policy, thinks=True, max_tokens=MAX_TOKENS)
    parts: list[tuple[str, str]] = []
    commands = machine.start()
    while True:
        _apply(commands, parts)
        command = next(command for command in reversed(commands) if isinstance(command, (Generate, Finish)))
        if isinstance(command, Finish):
            return parts
        commands = _stream(machine, command, models.tokens(command.author, "".join(text for _, text in parts)), parts)


def _stream(
    machine: Delegation, command: Generate, tokens: Iterator[str], parts: list[tuple[str, str]]
) -> list[Command]:
    """Pass the tokens of a model to the policy, and return the commands that end its stream."""
    for _ in range(command.max_tokens):
        token = next(tokens, None)
        commands = machine.end("stop") if token is None else machine.receive(token)
        if any(isinstance(command, (Generate, Finish)) for command in commands):
            return commands
        _apply(commands, parts)
    return machine.end("length")


def _apply(commands: Sequence[Command], parts: list[tuple[str, str]]) -> None:
    for command in commands:
        match command:
            case Commit(text, _, _, author):
                _append(parts, author, text)
            case Insert(text):
                _append(parts, "inserted", text)
            case CloseThinking(markup):
                _append(parts, "inserted", markup)
            case _:
                pass


def _append(parts: list[tuple[str, str]], author: str, text: str) -> None:
    if parts and parts[-1][0] == author:
        text = parts.pop()[1] + text
    parts.append((author, text))


def changed_turns(
    turns: int = TURNS, departures: Mapping[str, tuple[DelegationPolicy, DelegationPolicy]] = DEPARTURES
) -> dict[str, int]:
    """Return for each departure how many turns it changes, in their text or in the authors of their parts."""
    policies = [one for pair in departures.values() for one in pair]
    changed = dict.fromkeys(departures, 0)
    for seed in range(turns):
        written = {id(policy): write(policy, seed) for policy in {id(one): one for one in policies}.values()}
        for words, (with_it, without_it) in departures.items():
            changed[words] += written[id(with_it)] != written[id(without_it)]
    return changed


def table() -> list[str]:
    """Return the table in Markdown, one string for each row."""
    rows = [f"| {words} | {count} |" for words, count in changed_turns().items()]
    return [f"| what the default does | changes of {TURNS} turns |", "|---|---:|", *rows]


if __name__ == "__main__":
    sys.stdout.write("\n".join([*table(), ""]))

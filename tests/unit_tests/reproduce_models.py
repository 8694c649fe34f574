"""Stand-ins for the models of `docs/reproduce.md`: they add two numbers. The test names them on the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn

PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."


def _answer(question: str) -> str:
    """Return the sum that a question asks for, or the letter of the option that holds it."""
    assert question.endswith(PROMPT)
    first, second = map(int, re.findall(r"\d+", question)[:2])
    letter = re.search(rf"^([A-D])\) {first + second}$", question, re.MULTILINE)
    return letter[1] if letter else str(first + second)


def _boxed(turn: Turn) -> str:
    return f"The answer is \\boxed{{{_answer(turn.history[-1].content)}}}."


def _small(turn: Turn) -> str:
    if "sure" in turn.thinking:
        return f" Done.\n</think>\n\n{_boxed(turn)}"
    return "I add them.\n\nWait, I am done with it.\n</think>\n\nThe answer is \\boxed{0}."


def _instructed(turn: Turn) -> str:
    return f" I go on.\n\nThen {_boxed(turn)}" if "sure" in turn.thinking + turn.answer else "It is \\boxed{0}."


def _large(turn: Turn) -> str:
    return f"I am sure of this sum.\n</think>\n\n{_boxed(turn)}"


def small() -> ScriptedBackend:
    """Return a model that reasons, and is right only if the large model helped it."""
    return ScriptedBackend(_small, name="small", thinks=True)


def instructed() -> ScriptedBackend:
    """Return a model that does not reason."""
    return ScriptedBackend(_instructed, name="instructed")


def large() -> ScriptedBackend:
    """Return a model that is always right."""
    return ScriptedBackend(_large, name="large", thinks=True)

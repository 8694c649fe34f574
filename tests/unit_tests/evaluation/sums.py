"""Sums, and two models that solve them: the small one fails at large numbers, the large one never fails."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.evaluation import Question
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking.turn import Turn

HARD = 10
"""For sums from this number on, the small model answers wrong and begins its second step with "Hmm"."""
NUMBER = 20


def right_answer(turn: Turn) -> int:
    first, second = map(int, re.findall(r"\d+", turn.history[-1].content))
    return first + second


def small(turn: Turn) -> str:
    total, helped = right_answer(turn), "sure" in turn.thinking
    answer = f"</think>\n\nThe answer is \\boxed{{{total if total < HARD or helped else total + 1}}}."
    if helped:
        return f" Done.\n{answer}"
    step = "Hmm, it is large, let me think." if total >= HARD else "So it is."
    return f"I add.\n\n{step}\n\nWait, I am done.\n{answer}"


def large(turn: Turn) -> str:
    answer = f"</think>\n\nThe answer is \\boxed{{{right_answer(turn)}}}."
    return f"I am sure of it, as it is a sum and nothing more.\n{answer}"


def sums(count: int = NUMBER) -> list[Question]:
    """Return questions that ask for the question's number plus one. About half of the default twenty are hard."""
    return [Question(f"q{n}", f"What is {n} + 1?", str(n + 1)) for n in range(count)]


def sums_file(folder: Path, count: int = NUMBER) -> Path:
    file = folder / "sums.jsonl"
    lines = (json.dumps({"question": q.question, "answer": int(q.answer)}) for q in sums(count))
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def pair(**settings: Any) -> ChatSpeculativeThinking:
    fields: dict[str, Any] = {
        "speculative": ScriptedBackend(small, name="small", thinks=True),
        "target": ScriptedBackend(large, name="large", thinks=True),
    }
    return ChatSpeculativeThinking(**{**fields, **settings})

"""Two tiny reasoning models that come with the package, for demonstrations, notebooks and tests without a download.

They solve made-up word problems of a few steps and know nothing else. The small one reads characters, the large one
words, so every turn of theirs crosses vocabularies. How they were made, and how well each does: the README.md beside
each model's weights, and `benchmarks/pocket/` in the repository.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from langchain_spec_thinking.backends.local.backend import HuggingFaceBackend

_FOLDER = Path(__file__).parent
_LOCK = Lock()
_BOXED = re.compile(r"\\boxed\{(\d+)\}")


@dataclass(frozen=True)
class Problem:
    """A word problem that neither model was trained on.

    Attributes:
        question: What to ask.
        answer: The number that is right.
    """

    question: str
    answer: int


def speculative() -> HuggingFaceBackend:
    """Load the small model, once.

    Raises:
        ImportError: The extra `[huggingface]` is not installed.
    """
    return _load("pocket-small")


def target() -> HuggingFaceBackend:
    """Load the large model, once.

    Raises:
        ImportError: The extra `[huggingface]` is not installed.
    """
    return _load("pocket-large")


@cache
def problems() -> tuple[Problem, ...]:
    """Return twenty problems to try."""
    lines = (_FOLDER / "problems.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Problem(**json.loads(line)) for line in lines)


def boxed(text: str) -> int | None:
    """Return the number that an answer ends in, the last one in a box."""
    found = _BOXED.findall(text)
    return int(found[-1]) if found else None


def _load(name: str) -> HuggingFaceBackend:
    with _LOCK:  # else threads that come at the same time would load a model each
        return _loaded(name)


@cache
def _loaded(name: str) -> HuggingFaceBackend:
    # Stored in bfloat16 but run in float32: the same text on every machine, and faster where a CPU knows no bfloat16.
    return HuggingFaceBackend(_FOLDER / name, dtype="float32", device="cpu")

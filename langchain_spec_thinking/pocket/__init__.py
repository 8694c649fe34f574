"""Two tiny reasoning models that come with the package. Demonstrations, notebooks and tests need no download.

The models solve made-up word problems of one to eight steps and nothing else. Their vocabularies differ, but the same
text has about as many tokens in both. A token of the large model takes several times as long. The README.md beside each
model's weights and `benchmarks/pocket/` in the repository tell how the models were trained and how accurate they are.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock

from langchain_spec_thinking.backends.local.backend import HuggingFaceBackend
from langchain_spec_thinking.installing import require_modules

_FOLDER = Path(__file__).parent
_LOCK = Lock()
PROBLEMS = 200
"""Number of problems that come with the package."""
_BOXED = re.compile(r"\\boxed\{(\d{1,100})\}")


@dataclass(frozen=True)
class Problem:
    """A word problem that neither model was trained on.

    Attributes:
        question: The text of the problem.
        answer: The correct number.
    """

    question: str
    answer: int


def speculative() -> HuggingFaceBackend:
    """Return the small model. The first call loads it.

    Raises:
        ImportError: The extra `[huggingface]` is not installed.
    """
    return _load("pocket-small")


def target() -> HuggingFaceBackend:
    """Return the large model. The first call loads it.

    Raises:
        ImportError: The extra `[huggingface]` is not installed.
    """
    return _load("pocket-large")


def problems(count: int = 20) -> tuple[Problem, ...]:
    """Return problems that the models can try.

    They are the first problems that the generator in `benchmarks/pocket/` made from one seed. None was selected by its
    text or by the answers of the models.

    Args:
        count: How many, from 1 to `PROBLEMS`.

    Raises:
        ValueError: `count` is below 1 or above `PROBLEMS`.
    """
    if not 1 <= count <= PROBLEMS:
        msg = f"expected a count from 1 to {PROBLEMS}, got {count}"
        raise ValueError(msg)
    return _all_problems()[:count]


@cache
def _all_problems() -> tuple[Problem, ...]:
    lines = (_FOLDER / "problems.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Problem(**json.loads(line)) for line in lines)


def boxed(text: str) -> int | None:
    r"""Return the number in the last `\boxed{...}` of an answer, or None if there is none."""
    found = _BOXED.findall(text)
    return int(found[-1]) if found else None


def require_extra() -> None:
    """Check that the packages that run the two models are installed, without importing them.

    Raises:
        ImportError: The extra `[huggingface]` is not installed.
    """
    require_modules("The pocket pair", "huggingface", "torch", "transformers", "accelerate")


def _load(name: str) -> HuggingFaceBackend:
    require_extra()
    with _LOCK:  # without the lock, threads that call this at the same time would each load a model
        return _loaded(name)


@cache
def _loaded(name: str) -> HuggingFaceBackend:
    # The weights are stored in bfloat16 and run in float32. This gives the same text on every machine, and it is faster
    # on CPUs without bfloat16 instructions.
    return HuggingFaceBackend(_FOLDER / name, dtype="float32", device="cpu")

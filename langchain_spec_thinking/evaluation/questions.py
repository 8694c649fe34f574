"""Data sets: questions with their right answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking import pocket
from langchain_spec_thinking.jsonl import read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_COLUMNS = {"question": ("question", "problem"), "answer": ("answer", "solution")}
"""Column names that data sets use. The first one that exists is read."""
_FINAL = "####"
"""Mark before the final answer in GSM8K and similar data sets."""


@dataclass(frozen=True)
class Question:
    """A question with its right answer.

    Attributes:
        id: Hash of the question's text. It does not depend on the position in the file.
        question: Text to ask.
        answer: The right answer.
    """

    id: str
    question: str
    answer: str


def load_questions(spec: str, limit: int | None = None) -> list[Question]:
    """Load a data set.

    Args:
        spec: A file of JSON lines with `question` and `answer`; `hf:NAME[@CONFIG][:SPLIT]`, a data set of the Hugging
            Face Hub or a folder, with the split `test` by default; or `pocket[:N]`, the first N of the 200
            problems that come with the package.
        limit: Maximum number of questions, from the beginning.

    Raises:
        ValueError: A line or a row cannot be used. The message names it.
        OSError: The file cannot be read.
        ImportError: `datasets` is not installed.
    """
    name, _, rest = spec.partition(":")
    if name == "pocket":
        rows: Iterable[tuple[str, Mapping[str, Any]]] = _pocket(spec, rest)
    elif name == "hf" and rest:
        rows = _hub(rest)
    else:
        rows = read_lines(spec)
    questions = list(_numbered(_checked(place, row) for place, row in islice(rows, limit)))
    if not questions:
        msg = f"{spec}: expected at least one question, got none"
        raise ValueError(msg)
    return questions


def _pocket(spec: str, count: str) -> list[tuple[str, Mapping[str, Any]]]:
    if count and not (count.isdecimal() and 1 <= int(count) <= pocket.PROBLEMS):
        msg = f"{spec}: expected pocket or pocket:N with N from 1 to {pocket.PROBLEMS}"
        raise ValueError(msg)
    problems = pocket.problems(int(count or pocket.PROBLEMS))
    rows = [{"question": problem.question, "answer": problem.answer} for problem in problems]
    return [(f"pocket, problem {number}", row) for number, row in enumerate(rows, 1)]


def _hub(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        from datasets import load_dataset  # noqa: PLC0415 - an optional package
    except ImportError as e:
        msg = f"hf:{name} needs the package datasets: pip install datasets"
        raise ImportError(msg) from e
    path, _, split = name.partition(":")
    path, _, config = path.partition("@")
    for number, row in enumerate(load_dataset(path, config or None, split=split or "test"), 1):
        yield f"hf:{name}, row {number}", row


def _checked(place: str, row: Mapping[str, Any]) -> tuple[str, str]:
    found = {column: next((row[n] for n in names if n in row), None) for column, names in _COLUMNS.items()}
    for column, value in found.items():
        if not isinstance(value, (str, int, float)) or isinstance(value, bool) or not str(value).strip():
            has = ", ".join(row) or "none"
            msg = f"{place}: expected {column!r} with a text or a number, got {value!r}; the columns are {has}"
            raise ValueError(msg)
    return str(found["question"]), str(found["answer"]).rpartition(_FINAL)[2].strip()


def _numbered(pairs: Iterable[tuple[str, str]]) -> Iterator[Question]:
    seen: Counter[str] = Counter()
    for question, answer in pairs:
        digest = hashlib.sha256(question.encode()).hexdigest()[:12]
        seen[digest] += 1
        yield Question(digest if seen[digest] == 1 else f"{digest}-{seen[digest]}", question, answer)

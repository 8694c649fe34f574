"""Runs of an evaluation: each variant answers each question once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.checks import check_of, require_checkable
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.results import Evaluation
from langchain_spec_thinking.json_values import read_json
from langchain_spec_thinking.jsonl import LineAppender, read_lines
from langchain_spec_thinking.policy.data import as_data
from langchain_spec_thinking.recording.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.evaluation.variants import Variant


RUNS = "runs.jsonl"
SETTINGS = "settings.json"


def evaluate(
    questions: Sequence[Question],
    variants: Sequence[Variant],
    folder: str | PathLike[str],
    *,
    check: str = "math",
    concurrency: int = 8,
    on_outcome: Callable[[str, Outcome], object] = lambda _name, _outcome: None,
) -> Evaluation:
    """Let each variant answer each question, and check the answers.

    Every turn is recorded in `runs.jsonl`. A recorded turn does not run again, unless it ended in an error. The
    variants run one after another, so that their times can be compared.

    Args:
        questions: The questions to ask.
        variants: The variants that answer them.
        folder: Folder for the runs.
        check: Name of the check, as for `check_of`.
        concurrency: Number of turns that run at the same time.
        on_outcome: Called with the name of the variant and each outcome. Outcomes of earlier runs come first.

    Raises:
        ValueError: A variant of that name has answered in this folder with other settings, two variants have the same
            name, or a right answer cannot be checked.
    """
    _require_names(variants)
    store = _Store(Path(folder), check, questions)
    store.require_same(variants)
    require_checkable(questions, store.check)
    outcomes: dict[str, tuple[Outcome, ...]] = {}
    for variant in variants:
        found = {q.id: store.done[variant.name, q.id] for q in questions if (variant.name, q.id) in store.done}
        for outcome in found.values():
            on_outcome(variant.name, outcome)
        for question, result in answer_all(variant, [q for q in questions if q.id not in found], concurrency):
            found[question.id] = store.add(variant, question, result)
            on_outcome(variant.name, found[question.id])
        outcomes[variant.name] = tuple(found[question.id] for question in questions)
    return Evaluation(outcomes, {variant.name: variant.alone for variant in variants})


def answer_all(
    variant: Variant, questions: Sequence[Question], concurrency: int
) -> Iterator[tuple[Question, Record | str]]:
    """Answer questions at the same time. Yield each question with its record or error as soon as it is done."""
    stopped = threading.Event()

    def solve(question: Question) -> Record | str:
        try:
            return variant.solve(question, stopped)
        except Exception as e:  # noqa: BLE001 - one failed question must not end the evaluation
            return f"{type(e).__name__}: {e}"

    with ThreadPoolExecutor(concurrency) as pool:
        running = {pool.submit(solve, question): question for question in questions}
        try:
            for future in as_completed(running):
                yield running.pop(future), future.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


class _Store:
    """The answers so far, in a folder.

    Attributes:
        check: Decides whether an answer is right.
        done: Outcomes by variant and id of the question, without those that ended in an error.
    """

    def __init__(self, folder: Path, check: str, questions: Sequence[Question]) -> None:
        self.check = check_of(check)
        self.done: dict[tuple[str, str], Outcome] = {}
        self._folder = folder
        self._spec = check
        self._right = {question.id: question.answer for question in questions}
        self._append = LineAppender(folder / RUNS)
        if (folder / RUNS).exists():
            for place, line in read_lines(folder / RUNS):
                self._read(place, line)

    def add(self, variant: Variant, question: Question, result: Record | str) -> Outcome:
        """Store the result of a question: a record, or an error if there is no record."""
        record, error = (None, result) if isinstance(result, str) else (result, result.error)
        line = {
            "variant": variant.name,
            "alone": variant.alone,
            "id": question.id,
            "check": None,  # set after the check: an answer has cost money, so it is kept even if its check fails
            "expected": question.answer,
            "right": False,
            "error": error,
            "record": record and record.as_dict(),
        }
        try:
            line["right"] = record is not None and not error and bool(self.check(record.answer, question.answer))
            line["check"] = self._spec
        finally:
            self._append(json.dumps(line, ensure_ascii=False, default=as_data))
        return Outcome.of_line(line)

    def require_same(self, variants: Sequence[Variant]) -> None:
        """Refuse variants that have answered with other settings. Store the settings of all others."""
        file = self._folder / SETTINGS
        known: dict[str, Any] = read_json(file.read_text(encoding="utf-8")) if file.exists() else {}
        answered = {name for name, _ in self.done}
        for variant in variants:
            settings = json.loads(json.dumps(variant.settings))
            before = known.get(variant.name, settings)
            if variant.name in answered and before != settings:
                differing = " and ".join(_differences(before, settings))
                msg = (
                    f"{variant.name}: its answers in {self._folder} were given with other settings ({differing}). "
                    "Give it another name, or another folder"
                )
                raise ValueError(msg)
            known[variant.name] = settings
        file.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def _read(self, place: str, line: dict[str, Any]) -> None:
        try:
            expected = self._right.get(line["id"], line["expected"])
            if line["error"] is None and (line["check"], line["expected"]) != (self._spec, expected):
                line = {**line, "right": self.check(line["record"]["answer"], expected)}
            outcome = Outcome.of_line(line)
            if outcome.error is None:
                self.done[line["variant"], outcome.question] = outcome
        except (KeyError, TypeError) as e:
            msg = f"{place}: this line was not written by this version of `evaluate` ({e!r})"
            raise ValueError(msg) from e


def _require_names(variants: Sequence[Variant]) -> None:
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        msg = f"expected variants of different names, got {', '.join(names)}"
        raise ValueError(msg)


def _differences(before: object, now: object, path: str = "") -> list[str]:
    """Describe the differences between two settings, one text for each."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted(before.keys() | now.keys())
        inner = [_differences(before.get(n), now.get(n), f"{path}.{n}" if path else n) for n in names]
        return [difference for differences in inner for difference in differences]
    return [] if before == now else [f"{path}: {before!r}, now {now!r}"]


def read_runs(path: str | PathLike[str], variant: str) -> list[tuple[Record, bool]]:
    """Read the records of a variant and whether each answer is right. Leave out errors.

    Raises:
        ValueError: `evaluate` did not write the file, or the variant has no answers in it. The message names the
            variants that have.
        OSError: The file cannot be read.
    """
    found: dict[str, tuple[Record, bool]] = {}
    names: set[str] = set()
    for place, line in read_lines(path, allow_incomplete_last_line=True):
        if "variant" not in line:
            msg = f"{place}: expected a line written by `evaluate`. Files of `recording` do not hold right answers"
            raise ValueError(msg)
        names.add(line["variant"])
        if line["variant"] == variant and line["error"] is None:
            found[line["id"]] = (Record.from_dict(line["record"]), line["right"])
    if not found:
        msg = f"{path}: no answers of {variant}; it has answers of {', '.join(sorted(names))}"
        raise ValueError(msg)
    return list(found.values())

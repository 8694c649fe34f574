"""Runs of an evaluation: each variant answers each question once."""

from __future__ import annotations

import json
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from langchain_spec_thinking.evaluation.checks import check_of, require_checkable
from langchain_spec_thinking.evaluation.coins import PREFIX
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.results import Evaluation
from langchain_spec_thinking.json_values import read_json
from langchain_spec_thinking.jsonl import LineAppender, read_lines
from langchain_spec_thinking.policy.data import as_data, with_defaults
from langchain_spec_thinking.recording.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from os import PathLike

    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.evaluation.runnables import RunnableVariant
    from langchain_spec_thinking.evaluation.variants import Variant

    AnyVariant = Variant | RunnableVariant

RUNS = "runs.jsonl"
SETTINGS = "settings.json"


class Meter(Protocol):
    """Counts what turns cost, and decides whether further turns may begin."""

    def begin(self) -> bool:
        """Return whether a turn may begin now. If not, `evaluate` asks again when a running turn has ended."""

    def end(self, variant: str, outcome: Outcome) -> None:
        """Count a turn that ended. It is not called for turns of earlier runs."""


class TurnsRefusedError(RuntimeError):
    """No turn was running, and the meter let no further turn begin. The turns that had begun are stored.

    Attributes:
        outcomes: What is known of each variant: its outcomes, by question. A question that failed earlier and was not
            asked again has its earlier outcome.
    """

    def __init__(self, variant: str, outcomes: Mapping[str, Mapping[str, Outcome]]) -> None:
        answered = sum(outcome.error is None for outcome in outcomes[variant].values())
        super().__init__(f"{variant}: no further turn may begin after {answered} answers")
        self.outcomes = outcomes


def evaluate(
    questions: Sequence[Question],
    variants: Sequence[AnyVariant],
    folder: str | PathLike[str],
    *,
    check: str = "math",
    concurrency: int = 8,
    on_outcome: Callable[[str, Outcome], object] = lambda _name, _outcome: None,
    meter: Meter | None = None,
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
        meter: Counts the turns, and decides whether further ones may begin. None: all may.

    Raises:
        TurnsRefusedError: The meter refused a turn although no turn was running.
        ValueError: A variant of that name has answered in this folder with other settings, two variants have the same
            name, a variant has the name of a coin, or a right answer cannot be checked.
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
        open_questions = [q for q in questions if q.id not in found]
        may_begin = meter.begin if meter else _always
        for question, result in answer_all(variant, open_questions, concurrency, may_begin):
            found[question.id] = store.add(variant, question, result)
            if meter:
                meter.end(variant.name, found[question.id])
            on_outcome(variant.name, found[question.id])
        if len(found) < len(questions):
            known = {one.name: store.outcomes(one.name, questions) for one in variants}
            raise TurnsRefusedError(variant.name, known)
        outcomes[variant.name] = tuple(found[question.id] for question in questions)
    return Evaluation(outcomes, {variant.name: variant.alone for variant in variants})


def _always() -> bool:
    return True


def answer_all(
    variant: AnyVariant,
    questions: Sequence[Question],
    concurrency: int,
    may_begin: Callable[[], bool] = _always,
) -> Iterator[tuple[Question, Record | str]]:
    """Answer questions at the same time. Yield each question with its record or error as soon as it is done.

    Before each turn, `may_begin` is called. A turn that may not begin waits for the end of a running one. If none runs,
    this question and those after it are left out.
    """
    stopped = threading.Event()

    def solve(question: Question) -> Record | str:
        try:
            return variant.solve(question, stopped)
        except Exception as e:  # noqa: BLE001 - one failed question must not end the evaluation
            return f"{type(e).__name__}: {e}"

    open_questions = deque(questions)
    running: dict[Future[Record | str], Question] = {}
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            while True:
                while open_questions and len(running) < concurrency and may_begin():
                    question = open_questions.popleft()
                    running[pool.submit(solve, question)] = question
                if not running:
                    return
                future = next(iter(wait(running, return_when=FIRST_COMPLETED).done))
                yield running.pop(future), future.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


class _Store:
    """The answers so far, in a folder.

    Attributes:
        check: Decides whether an answer is right.
        done: Outcomes by variant and id of the question, without those that ended in an error.
        failed: The last outcomes of those that ended in an error.
    """

    def __init__(self, folder: Path, check: str, questions: Sequence[Question]) -> None:
        self.check = check_of(check)
        self.done: dict[tuple[str, str], Outcome] = {}
        self.failed: dict[tuple[str, str], Outcome] = {}
        self._folder = folder
        self._spec = check
        self._right = {question.id: question.answer for question in questions}
        self._append = LineAppender(folder / RUNS)
        if (folder / RUNS).exists():
            for place, line in read_lines(folder / RUNS):
                self._read(place, line)

    def add(self, variant: AnyVariant, question: Question, result: Record | str) -> Outcome:
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
        return self._remember(variant.name, Outcome.of_line(line))

    def outcomes(self, variant: str, questions: Sequence[Question]) -> dict[str, Outcome]:
        """Return what is known of a variant, by question."""
        keys = [(variant, question.id) for question in questions]
        known = {**self.failed, **self.done}
        return {key[1]: known[key] for key in keys if key in known}

    def _remember(self, variant: str, outcome: Outcome) -> Outcome:
        (self.done if outcome.error is None else self.failed)[variant, outcome.question] = outcome
        return outcome

    def require_same(self, variants: Sequence[AnyVariant]) -> None:
        """Refuse variants that have answered with other settings. Store the settings of all others."""
        file = self._folder / SETTINGS
        known: dict[str, Any] = read_json(file.read_text(encoding="utf-8")) if file.exists() else {}
        answered = {name for name, _ in self.done}
        for variant in variants:
            settings = json.loads(json.dumps(variant.settings))
            before = with_defaults(known.get(variant.name, settings), variant.defaults)
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
            self._remember(line["variant"], Outcome.of_line(line))
        except (KeyError, TypeError) as e:
            msg = f"{place}: this line was not written by this version of `evaluate` ({e!r})"
            raise ValueError(msg) from e


def _require_names(variants: Sequence[AnyVariant]) -> None:
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        msg = f"expected variants of different names, got {', '.join(names)}"
        raise ValueError(msg)
    for name in names:
        if name.startswith(PREFIX):
            msg = f"{name}: expected a name that does not begin with {PREFIX!r}, as the names of coins do"
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

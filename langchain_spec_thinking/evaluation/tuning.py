"""Find the policy that pays: try a field of policies on some questions, and judge the best one on others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_spec_thinking.escalation_advice import require_escalation
from langchain_spec_thinking.evaluation.choice import LARGE, SMALL, Goal, Judgement, choose, judge, mean_of
from langchain_spec_thinking.evaluation.field import Field, Observed, field_of_policies, observe, observing
from langchain_spec_thinking.evaluation.halving import planned_turns, slices, split, survivors
from langchain_spec_thinking.evaluation.policy_lines import save_policy
from langchain_spec_thinking.evaluation.results import Evaluation
from langchain_spec_thinking.evaluation.runs import RUNS, TurnsRefusedError, evaluate, read_runs
from langchain_spec_thinking.evaluation.spending import LARGE_TOKENS, Spending, announcement
from langchain_spec_thinking.evaluation.tuned import POLICY, Round, Tuning
from langchain_spec_thinking.evaluation.variants import Variant, alone
from langchain_spec_thinking.evaluation.verdicts import MIN_QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.policy import DelegationPolicy
    from langchain_spec_thinking.price import Price
    from langchain_spec_thinking.recording.record import Record
    from langchain_spec_thinking.turn import Author

_SIDES: dict[str, Author] = {SMALL: "speculative", LARGE: "target"}
OBSERVED = "small, with log-probabilities"
"""Name of the variant that measures the entropies of the small model."""


class TuningListener:
    """Hears what a tuning does. Override what you need."""

    def stage(self, names: Sequence[str], count: int) -> None:
        """Called before variants answer questions, with their names and the number of questions."""

    def outcome(self, name: str, outcome: Outcome) -> None:
        """Called with the name of the variant and each outcome. In each stage, outcomes of earlier runs come first."""

    def message(self, text: str) -> None:
        """Called with sentences that say what will be done, what it will cost, and what was left out."""


def tune(
    questions: Sequence[Question],
    model: ChatSpeculativeThinking,
    out: str | PathLike[str],
    *,
    prices: Mapping[Author, Price] | None = None,
    goal: Goal | None = None,
    policies: Mapping[str, DelegationPolicy] | None = None,
    max_spend: float | None = None,
    check: str = "math",
    concurrency: int = 8,
    seed: int = 0,
    listener: TuningListener | None = None,
) -> Tuning:
    """Find out what to run: which policy of a pair, or one of its models alone.

    Both models answer all questions alone. A field of policies then answers the first questions of the choosing part.
    Policies that another one dominates are dropped. The others answer twice as many questions, and so on. The policy
    that reaches the goal best answers the reporting part, and the result is judged there.

    Turns are stored in the folder. The same call goes on after an interruption.

    Args:
        questions: The questions. A part of them is for choosing, the other for reporting.
        model: The pair. Its own policy does not matter, except the boundary.
        out: Folder for all files.
        prices: Prices of both models. None: the cost is the number of tokens that the large model writes.
        goal: What is wanted. None: the cheapest policy that is nearly as accurate as the large model.
        policies: Further policies to try, by name.
        max_spend: What all turns may cost together, in the currency of the prices, or in tokens of the large model if
            there are no prices. If that is not enough for all questions, fewer are asked.
        check: Name of the check, as for `check_of`.
        concurrency: Number of turns that run at the same time.
        seed: Draws the two parts.
        listener: Hears what the tuning does.

    Raises:
        ValueError: There are too few questions, `max_spend` is too small for them, a policy has the name of another
            variant, or answers in the folder were given with other settings.
        RuntimeError: A model alone failed on all questions.

    Example:
        ```python
        found = tune(load_questions("mine.jsonl"), model, "tuning", prices=prices)
        print(found.recommended, found.python)
        ```
    """
    paid = dict(prices or LARGE_TOKENS)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    spending = Spending(folder, paid, max_spend)
    tuner = _Tuner(model, folder, spending, paid, goal or Goal(), check, concurrency, listener or TuningListener())
    return tuner.tune(*split(questions, seed), policies or {}, prices or {})


@dataclass
class _Tuner:
    model: ChatSpeculativeThinking
    folder: Path
    spending: Spending
    prices: Mapping[Author, Price]
    goal: Goal
    check: str
    concurrency: int
    listener: TuningListener
    variants: dict[str, Variant] = field(default_factory=dict)

    def tune(
        self,
        choosing: list[Question],
        reporting: list[Question],
        further: Mapping[str, DelegationPolicy],
        prices: Mapping[Author, Price],
    ) -> Tuning:
        if len(choosing) < 1:
            msg = f"expected at least 2 questions, got {len(choosing) + len(reporting)}"
            raise ValueError(msg)
        self.variants = {name: alone(self.model, side, name) for name, side in _SIDES.items()}
        for sentence in announcement(self.model, self.spending, (choosing, reporting), self._expected_candidates):
            self.listener.message(sentence)
        first = self._run_first(choosing[: slices(len(choosing))[0]])
        choosing, reporting = self._affordable(first, choosing, reporting)
        self._run_alone([SMALL, LARGE], [*choosing, *reporting])
        tried = self._field(choosing[: slices(len(choosing))[0]], choosing, further)
        rounds = self._rounds(list(tried.policies), choosing, len(reporting), _each(first))
        chosen = choose(rounds[-1].evaluation, self.goal)
        report, judgement = self._report(chosen, reporting)
        found = Tuning(
            self.goal,
            chosen,
            tried.policies,
            tuple(rounds),
            report,
            judgement,
            prices,
            tried.left_out,
            self.spending.spent,
            self.folder,
        )
        if found.policy:
            save_policy(found.policy, self.folder / POLICY)
        return found

    # -- the models alone

    def _run_first(self, part: list[Question]) -> Evaluation:
        """Let the models alone answer the first slice. With a limit, turns run one by one until one has a cost."""
        unknown = [] if self.spending.limit is None else part
        for question in unknown:
            if self.spending.dearest:
                break
            self._run_alone([LARGE], [question])
        found = self._run_alone([SMALL, LARGE], part)
        for name in (SMALL, LARGE):
            outcomes = found.outcomes[name]
            if all(outcome.error for outcome in outcomes):
                msg = f"{name}: all of the first {len(outcomes)} questions ended in an error: {outcomes[0].error}"
                raise RuntimeError(msg)
        return found

    def _run_alone(self, names: Sequence[str], part: Sequence[Question]) -> Evaluation:
        """Let models answer alone. Without these answers there is nothing to compare a policy with.

        Raises:
            ValueError: The limit ended it.
        """
        try:
            return self._run(names, part)
        except TurnsRefusedError as e:
            msg = f"max_spend: the limit is reached before both models have answered alone: {self.spending.reached}"
            raise ValueError(msg) from e

    def _affordable(
        self, first: Evaluation, choosing: list[Question], reporting: list[Question]
    ) -> tuple[list[Question], list[Question]]:
        """Leave out so many questions that the limit will probably hold. Say what the tuning will cost.

        The estimate depends only on the first slice and the limit, so that the same call asks the same questions.
        """
        limit = self.spending.limit
        each = _each(first)
        half = len(reporting)
        wanted = self._estimate(half, each)
        while limit is not None and half and self._estimate(half, each) > limit:
            half -= 1
        self.listener.message(
            f"After {first.count} questions: a question costs both models together {each:.4g}{self.spending.unit}. So "
            f"all of it probably costs less than {wanted:.4g}{self.spending.unit}."
        )
        unit, fewest = self.spending.unit, min(MIN_QUESTIONS, len(choosing))
        if half < fewest:
            least = self._estimate(fewest, each)
            msg = f"max_spend: expected at least about {least:.4g}{unit} for these models, got {limit}"
            raise ValueError(msg)
        if half < len(reporting):
            asked = f"{2 * half} of the {len(choosing) + len(reporting)} questions are asked"
            self.listener.message(f"To stay within {limit:.4g}{unit}, only {asked}.")
        return choosing[:half], reporting[:half]

    def _estimate(self, half: int, each: float) -> float:
        """Return what a tuning with parts of this size costs if a turn of a pair costs as much as both models alone."""
        return each * (2 * half + planned_turns(self._expected_candidates, half) + half)

    @property
    def _expected_candidates(self) -> int:
        """Number of candidates before the thresholds are known."""
        return len(field_of_policies(self.model, Observed((1,), (0.0, 1.0, 2.0, 3.0), (-2.0, -1.0))).policies)

    # -- the candidates

    def _field(self, first: list[Question], choosing: list[Question], further: Mapping[str, DelegationPolicy]) -> Field:
        """Return the policies to try. Their thresholds come from answers of the small model on the choosing part."""
        observed = observe(self._records(SMALL, choosing), self._watched(first))
        found = field_of_policies(self.model, observed)
        for name, policy in further.items():
            if name in {*self.variants, *found.policies}:
                msg = f"{name}: expected another name, because a variant of this tuning has it"
                raise ValueError(msg)
            _require(policy, self.model)
        for sentence in found.left_out:
            self.listener.message(sentence)
        tried = replace(found, policies={**found.policies, **further})
        for name, policy in tried.policies.items():
            self.variants[name] = Variant(name, self.model.model_copy(update={"policy": policy}))
        return tried

    def _watched(self, first: list[Question]) -> list[tuple[Record, bool]]:
        """Return answers of the small model with log-probabilities. Empty if it returns none."""
        watched = observing(self.model, OBSERVED)
        if watched is None:
            return []
        self.variants[OBSERVED] = watched
        found, _ = self._run_as_far([OBSERVED], first)
        return [] if all(outcome.error for outcome in found.outcomes[OBSERVED]) else self._records(OBSERVED, first)

    def _records(self, name: str, part: list[Question]) -> list[tuple[Record, bool]]:
        asked = {question.question for question in part}
        answers = read_runs(self.folder / RUNS, name)
        return [(record, right) for record, right in answers if record.history[-1].content in asked]

    def _rounds(self, names: list[str], choosing: list[Question], reporting: int, each: float) -> list[Round]:
        """Halve the field until the choosing part or the money ends.

        Args:
            names: Names of the candidates.
            choosing: The choosing part.
            reporting: Number of questions of the reporting part.
            each: What a question costs both models alone. A candidate that is not known yet is expected to cost that.
        """
        rounds: list[Round] = []
        sizes = slices(len(choosing))
        for size in sizes:
            part = choosing[:size]
            last = rounds[-1].evaluation.figures if rounds else {}
            costs = {name: mean_of(last[name].costs) if last else each for name in names}
            if not names or not self._can_pay(costs, part, reporting):
                break
            try:
                found = self._run([SMALL, LARGE, *names], part)
            except TurnsRefusedError:
                break
            measured = {
                name: (sum(figures.is_right), mean_of(self.goal.expenses(figures)))
                for name, figures in found.figures.items()
            }
            staying = survivors(measured, size, (SMALL, LARGE)) if size < len(choosing) else names
            dropped = tuple(name for name in names if name not in staying)
            rounds.append(Round(found, dropped))
            names = staying
        if names and len(rounds) < len(sizes):
            asked = rounds[-1].evaluation.count if rounds else 0
            where = f"after {asked} of {len(choosing)} questions"
            limit = f"{self.spending.limit:.4g}{self.spending.unit}"
            self.listener.message(f"The limit max_spend={limit} ends the comparison {where}.")
        return rounds or [Round(self._run_as_far([SMALL, LARGE], choosing)[0], ())]

    def _can_pay(self, costs: Mapping[str, float], part: list[Question], reporting: int) -> bool:
        """Return whether a round can be paid, with the report on the dearest of its candidates."""
        turns = {name: self.spending.open_turns([name], part) for name in costs}
        if not any(turns.values()):
            return True
        wanted = sum(turns[name] * cost for name, cost in costs.items()) + reporting * max(costs.values())
        return wanted <= self.spending.left

    # -- the report

    def _report(self, chosen: str | None, reporting: list[Question]) -> tuple[Evaluation, Judgement | None]:
        """Let the chosen policy answer the reporting part, as far as the limit allows."""
        names = [SMALL, LARGE]
        if chosen is None or chosen in names:
            return self._run_as_far(names, reporting)[0], None
        found, refused = self._run_as_far([*names, chosen], reporting)
        if refused:
            where = f"after {found.count} of {len(reporting)} questions"
            self.listener.message(f"The limit ends the report {where}: {self.spending.reached}.")
        if not found.count:
            return self._run_as_far(names, reporting)[0], None
        answered = found.restricted_to(*names, chosen)
        return found, judge(answered, chosen, self.goal) if answered.count else None

    def _run_as_far(self, names: Sequence[str], part: Sequence[Question]) -> tuple[Evaluation, bool]:
        """Let variants answer questions as far as the limit allows.

        Returns:
            The outcomes of the questions of which those of all these variants are known, and whether the limit ended
            it. No question that failed is asked again then.
        """
        try:
            return self._run(names, part), False
        except TurnsRefusedError as e:
            known = [e.outcomes[name] for name in names]
            ids = [question.id for question in part if all(question.id in outcomes for outcomes in known)]
            outcomes = {name: tuple(e.outcomes[name][one] for one in ids) for name in names}
            return Evaluation(outcomes, {name: self.variants[name].alone for name in names}, self.prices), True

    def _run(self, names: Sequence[str], part: Sequence[Question]) -> Evaluation:
        self.listener.stage(names, len(part))
        found = evaluate(
            part,
            [self.variants[name] for name in names],
            self.folder,
            check=self.check,
            concurrency=self.concurrency,
            on_outcome=self.listener.outcome,
            meter=self.spending,
        )
        return replace(found, prices=self.prices)


def _require(policy: DelegationPolicy, model: ChatSpeculativeThinking) -> None:
    """Refuse a rule of escalation that cannot work with the pair."""
    require_escalation(policy, model.speculative, answer_by=model.answer_by, temperature=model.temperature)


def _each(found: Evaluation) -> float:
    """Return what a question costs both models alone."""
    return sum(mean_of(found.figures[name].costs) for name in (SMALL, LARGE))

"""Laws of the halving, of the limit of what is spent, and of policies as code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import langchain_spec_thinking
from langchain_spec_thinking import (
    Agreement,
    AnyOf,
    Budget,
    Confidence,
    CueTrigger,
    DelegationPolicy,
    EscalateIfAny,
    FirstTokenEntropy,
    Lexicon,
    RandomTrigger,
    Stall,
)
from langchain_spec_thinking.evaluation import Question, alone, evaluate
from langchain_spec_thinking.evaluation.field import Observed, field_of_policies, observe, observing
from langchain_spec_thinking.evaluation.halving import planned_turns, slices, split, survivors
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.policy_code import policy_code
from langchain_spec_thinking.evaluation.policy_lines import format_policy, parse_policy, save_policy
from langchain_spec_thinking.evaluation.runs import TurnsRefusedError, read_runs
from langchain_spec_thinking.evaluation.spending import LARGE_TOKENS, Spending
from langchain_spec_thinking.report import AuthorUsage
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.evaluation.gates import Large, always_right, pair, questions

if TYPE_CHECKING:
    import random

    from langchain_spec_thinking.turn import Author, Turn

COUNT = 40
FIELDS = st.dictionaries(
    st.sampled_from("abcdefghij"), st.tuples(st.integers(0, COUNT), st.integers(0, 5).map(float)), min_size=1
)


@given(FIELDS, st.randoms())
def test_the_order_of_candidates_does_not_matter(measured: dict[str, tuple[int, float]], rng: random.Random) -> None:
    names = list(measured)
    rng.shuffle(names)
    shuffled = {name: measured[name] for name in names}
    assert set(survivors(measured, COUNT)) == set(survivors(shuffled, COUNT))
    assert survivors(shuffled, COUNT) == [name for name in names if name in survivors(measured, COUNT)]


@given(FIELDS)
def test_a_candidate_that_is_as_good_as_one_that_stays_is_never_dropped(measured: dict[str, tuple[int, float]]) -> None:
    staying = survivors(measured, COUNT)
    assert staying
    for name, (right, expense) in measured.items():
        dominates = any(right >= measured[other][0] and expense <= measured[other][1] for other in staying)
        assert name in staying or not dominates


@given(FIELDS)
def test_who_is_dropped_was_beaten_by_one_that_stays(measured: dict[str, tuple[int, float]]) -> None:
    staying = survivors(measured, COUNT)
    for name, (right, expense) in measured.items():
        if name not in staying:
            assert any(measured[other][0] >= right and measured[other][1] <= expense for other in staying)


def test_a_difference_that_chance_explains_drops_nobody() -> None:
    assert survivors({"large": (20, 1.0), "one": (17, 1.0)}, COUNT, ["large"]) == ["one"]
    assert survivors({"large": (20, 1.0), "one": (16, 1.0)}, COUNT, ["large"]) == []
    assert survivors({"large": (20, 1.0), "one": (16, 0.9)}, COUNT, ["large"]) == ["one"]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (31, [31]), (32, [16, 32]), (250, [31, 62, 125, 250])])
def test_each_round_asks_twice_as_many_questions(count: int, sizes: list[int]) -> None:
    assert slices(count) == sizes
    assert planned_turns(1, count) == count


@given(st.integers(2, 40), st.integers(0, 3), st.randoms())
def test_the_split_does_not_depend_on_the_order_of_the_file(count: int, seed: int, rng: random.Random) -> None:
    asked = [Question(f"q{number}", "?", "!") for number in range(count)]
    choosing, reporting = split(asked, seed)
    shuffled = asked[:]
    rng.shuffle(shuffled)
    assert split(shuffled, seed) == (choosing, reporting)
    assert sorted(q.id for q in [*choosing, *reporting]) == sorted(q.id for q in asked)
    assert len(reporting) - len(choosing) in {0, 1}


def outcome(cost: int) -> Outcome:
    used: dict[Author, AuthorUsage] = {"speculative": AuthorUsage(), "target": AuthorUsage(completion_tokens=cost)}
    return Outcome("q", right=True, error=None, tokens={}, usage=used)


@given(st.lists(st.integers(0, 20), max_size=40), st.integers(0, 200), st.integers(1, 8), st.randoms())
def test_if_the_first_turn_is_the_dearest_the_limit_always_holds(
    costs: list[int], limit: int, together: int, rng: random.Random
) -> None:
    spending = Spending(Path("no such folder"), LARGE_TOKENS, limit)
    running: list[int] = []
    spent = first = 0
    if limit >= 20 and spending.begin():
        spent = first = 20
        spending.end("x", outcome(first))
    for cost in costs if first else []:
        if len(running) == together or (running and rng.random() < 0.5):
            done = running.pop(rng.randrange(len(running)))
            spending.end("x", outcome(done))
            spent += done
        if spending.begin():
            running.append(cost)
    assert spent + sum(running) <= limit


def test_turns_that_may_not_begin_are_not_asked_and_the_others_are_stored(tmp_path: Path) -> None:
    large = Large()
    one = alone(pair(always_right, large), "target", "target")
    asked = questions(12)
    each = evaluate(asked[:1], [one], tmp_path / "one").figures["target"].outcomes[0].usage["target"].completion_tokens
    large.requests.clear()
    limit = 4 * each
    evaluate(asked[:1], [one], tmp_path, meter=Spending(tmp_path, LARGE_TOKENS, limit))
    with pytest.raises(TurnsRefusedError) as refused:
        evaluate(asked, [one], tmp_path, meter=Spending(tmp_path, LARGE_TOKENS, limit), concurrency=8)
    assert len(refused.value.outcomes["target"]) == 4
    assert Spending(tmp_path, LARGE_TOKENS).spent == limit
    with pytest.raises(TurnsRefusedError):
        evaluate(asked, [one], tmp_path, meter=Spending(tmp_path, LARGE_TOKENS, limit))
    assert Spending(tmp_path, LARGE_TOKENS).spent == limit


class Metered:
    """Lets two turns run at the same time, and a number of turns in all."""

    def __init__(self, turns: int) -> None:
        self._left = turns
        self._running = 0

    def begin(self) -> bool:
        begins = self._running < 2 and self._left > 0
        self._running += begins
        self._left -= begins
        return begins

    def end(self, variant: str, outcome: Outcome) -> None:
        self._running -= 1


def test_a_turn_that_cannot_begin_now_waits_for_a_running_one(tmp_path: Path) -> None:
    one = alone(pair(always_right), "target", "target")
    found = evaluate(questions(9), [one], tmp_path, meter=Metered(9), concurrency=8)
    assert found.count == 9


def test_money_that_running_turns_do_not_use_is_spent_by_later_ones(tmp_path: Path) -> None:
    """The first turn is the dearest one. All others could cost as much, but they cost less."""
    large = Large()
    one = alone(pair(always_right, large), "target", "target")
    asked = questions(12)
    dear = ScriptedBackend(lambda _: "I add. " * 300, name="large", thinks=True)
    evaluate(asked[:1], [alone(pair(always_right, dear), "target", "earlier")], tmp_path)
    earlier = Spending(tmp_path, LARGE_TOKENS)
    each = evaluate(asked[:1], [one], tmp_path / "one").figures["target"].outcomes[0].usage["target"].completion_tokens
    limit = earlier.spent + earlier.dearest + 11 * each
    found = evaluate(asked, [one], tmp_path, meter=Spending(tmp_path, LARGE_TOKENS, limit), concurrency=8)
    assert found.count == 12
    assert Spending(tmp_path, LARGE_TOKENS).spent <= limit


def test_a_refusal_tells_all_outcomes_with_those_that_failed(tmp_path: Path) -> None:
    def broken(_turn: Turn) -> str:
        msg = "the server is gone"
        raise KeyError(msg)

    small = alone(pair(always_right), "speculative", "small")
    failing = alone(pair(always_right, ScriptedBackend(broken, name="large", thinks=True)), "target", "target")
    evaluate(questions(2), [small, failing], tmp_path)
    with pytest.raises(TurnsRefusedError) as refused:
        evaluate(questions(3), [small, failing], tmp_path, meter=Metered(2))
    known = {name: [one.error is None for one in refused.value.outcomes[name].values()] for name in ("small", "target")}
    assert known == {"small": [True, True, True], "target": [False, False]}


POLICIES = {
    "the default": (DelegationPolicy(), "DelegationPolicy()"),
    "gated": (DelegationPolicy.gated(), "DelegationPolicy.gated()"),
    "gated with samples": (
        DelegationPolicy.gated(escalation=Agreement(3)),
        "DelegationPolicy.gated(escalation=Agreement(samples=3))",
    ),
    "for models that do not reason": (DelegationPolicy.non_reasoning(), "DelegationPolicy.non_reasoning()"),
    "the rest": (DelegationPolicy(takeover_tokens="rest"), "DelegationPolicy(takeover_tokens='rest')"),
    "a step of a trigger whose default is a step": (
        DelegationPolicy(trigger=FirstTokenEntropy(0.5)),
        "DelegationPolicy(trigger=FirstTokenEntropy(threshold=0.5))",
    ),
    "rules that are combined": (
        DelegationPolicy.gated(escalation=EscalateIfAny(Stall(tokens=90), Agreement(2), Confidence())),
        "DelegationPolicy.gated(escalation=EscalateIfAny(Stall(tokens=90), Agreement(), Confidence()))",
    ),
    "triggers that are combined, with a lexicon and a budget": (
        DelegationPolicy(
            trigger=AnyOf(CueTrigger(Lexicon(reflection=("hmm",))), RandomTrigger(0.1)),
            budget=Budget(cost=1),
        ),
        None,
    ),
}


@pytest.mark.parametrize(("policy", "code"), POLICIES.values(), ids=POLICIES)
def test_a_policy_as_code_makes_the_same_policy(policy: DelegationPolicy, code: str | None) -> None:
    written = policy_code(policy)
    assert eval(written, vars(langchain_spec_thinking)) == policy  # noqa: S307 - our own text
    assert "\n" not in written
    if code:
        assert written == code


def logprobs(token: str) -> tuple[float, ...]:
    return (-0.1, -3.0) if token.strip() == "I" else (-0.6, -0.8)


@pytest.mark.parametrize("thinks", [True, False])
def test_every_policy_of_the_field_can_be_written_down_and_read_back(*, thinks: bool, tmp_path: Path) -> None:
    small = ScriptedBackend(always_right, name="small", thinks=thinks, logprobs=logprobs)
    model = pair(always_right).model_copy(update={"speculative": small})
    found = field_of_policies(model, Observed((100, 120), (0.1, 0.5, 1.0, 1.5), (-0.3, -0.2, -0.1)))
    assert not found.left_out
    assert len(found.policies) > 15
    assert len({repr(policy) for policy in found.policies.values()}) == len(found.policies)
    for name, policy in found.policies.items():
        assert eval(policy_code(policy), vars(langchain_spec_thinking)) == policy  # noqa: S307 - our own text
        try:
            line = format_policy(name, policy)
        except ValueError:
            assert isinstance(policy.escalation, EscalateIfAny)
            save_policy(policy, tmp_path / "one.json")
            line = f"{name}:{tmp_path / 'one.json'}"
        assert parse_policy(line) == (name, policy)


def test_thresholds_come_from_what_the_small_model_writes(tmp_path: Path) -> None:
    small = ScriptedBackend(
        lambda _: "I add.\n\nThen I am done.\n</think>\n\nIt is \\boxed{1000}.", thinks=True, logprobs=logprobs
    )
    model = pair(always_right).model_copy(update={"speculative": small})
    watched = observing(model, "watched")
    assert watched
    evaluate(questions(3), [alone(model, "speculative", "small"), watched], tmp_path)
    file = tmp_path / "runs.jsonl"
    seen = observe(read_runs(file, "small"), read_runs(file, "watched"))
    assert len(seen.entropies) == 3
    assert min(seen.entropies) == pytest.approx(0.688, abs=0.01)  # that of -0.6 and -0.8, at "Then"
    assert len(seen.lengths) == 1  # one of three is right
    assert seen.logprobs == pytest.approx([-0.6] * 3, abs=0.1)
    names = field_of_policies(model, seen).policies
    assert "entropy-0.69-rest" in names
    assert any(name.startswith("stall-") for name in names)


def test_policies_that_the_models_cannot_carry_out_are_left_out_with_the_reason() -> None:
    found = field_of_policies(pair(always_right, answer_by="target"), Observed((9,)))
    assert set(found.policies) == {"steps", "opening", "cue-rest", "stall-10"}
    assert any("because small returns no log-probabilities." in sentence for sentence in found.left_out)
    assert any("because answer_by is 'target'" in sentence for sentence in found.left_out)

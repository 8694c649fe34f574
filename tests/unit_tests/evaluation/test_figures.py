"""Statistics, the Pareto front, and the verdicts on a pair."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking.evaluation import Evaluation
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.report import as_dict
from langchain_spec_thinking.evaluation.results import pareto
from langchain_spec_thinking.evaluation.statistics import mcnemar, mean, ratio, wilson
from langchain_spec_thinking.evaluation.verdicts import Relation, compare, verdicts
from langchain_spec_thinking.price import Price
from langchain_spec_thinking.report import AuthorUsage

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Author


def marks(starred: str) -> list[bool]:
    return [mark == "*" for mark in starred]


def test_mcnemar_counts_questions_that_only_one_run_solves() -> None:
    assert mcnemar(marks("*****..."), marks("........")).p == pytest.approx(2 / 2**5)
    assert mcnemar(marks("**"), marks("**")).p == 1
    test = mcnemar(marks("**.."), marks("*.**"))
    assert (test.only_first, test.only_second, test.difference) == (1, 2, -0.25)


def test_intervals_match_textbook_values() -> None:
    found = wilson(2, 8)
    assert [found.low, found.high] == pytest.approx([0.0715, 0.5907], abs=1e-3)
    assert (wilson(0, 5).low, wilson(5, 5).high) == (0, 1)
    found = mean([1, 2, 3, 4])
    assert found.value == 2.5
    assert found.high - found.value == pytest.approx(3.182 * math.sqrt(5 / 3 / 4), rel=1e-3)
    assert mean([3]).low == -math.inf


def test_the_interval_of_a_share_covers_the_population_in_95_percent_of_samples() -> None:
    """About 95% of a thousand samples have the share of the whole population within their interval."""
    rng = random.Random(3)  # noqa: S311 - repeatable, not secret
    turns = [(rng.randint(0, 40), rng.randint(40, 400)) for _ in range(4000)]
    share = sum(part for part, _ in turns) / sum(whole for _, whole in turns)
    hits = 0
    for _ in range(1000):
        sample = rng.sample(turns, 60)
        found = ratio([part for part, _ in sample], [whole for _, whole in sample])
        hits += found.low <= share <= found.high
    assert 920 <= hits <= 980
    assert ratio([0], [0]).high == 1


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_the_pareto_front_holds_exactly_the_points_that_nothing_beats(points: dict[str, tuple[int, int]]) -> None:
    front = pareto(points)
    beaten = {
        name
        for name, (takes, gives) in points.items()
        if any(t <= takes and g >= gives and (t, g) != (takes, gives) for t, g in points.values())
    }
    assert {points[name] for name in front} == {points[name] for name in points.keys() - beaten}


def outcomes(right: str, *, target: int, cost: int, seconds: float = 1.0) -> tuple[Outcome, ...]:
    """Return outcomes with equal tokens and costs. A star marks a right answer."""
    tokens: dict[Author, int] = {"speculative": 100 - target, "target": target}
    usage: dict[Author, AuthorUsage] = {
        "speculative": AuthorUsage(),
        "target": AuthorUsage(requests=1, completion_tokens=cost),
    }
    return tuple(
        Outcome(f"q{n}", mark == "*", None, tokens, usage, 0.0, seconds * (1 + n % 3 / 100))
        for n, mark in enumerate(right)
    )


PRICES: dict[Author, Price] = {"speculative": Price(0, 0), "target": Price(0, 1_000_000)}
FEW, MANY, ALL = "*" * 20 + "." * 40, "*" * 50 + "." * 10, "*" * 60
SLIGHTLY_MORE = "*" * 22 + "." * 38

# The pair has 20 of 60 answers right. It costs 50 and takes one second per question.
TARGETS = {
    "better and cheaper": (MANY, 20, 1.0, True, "Dominated: the large model alone is better and cheaper here."),
    "better for the same": (MANY, 50, 1.0, True, "Dominated: the large model alone is better here and costs the same"),
    "better and more expensive": (
        MANY,
        90,
        1.0,
        False,
        "A trade-off: the large model alone is better, but more expensive.",
    ),
    "as good and cheaper": (
        SLIGHTLY_MORE,
        20,
        1.0,
        False,
        "No gain shown: the large model alone is cheaper here, and the",
    ),
    "as good and more expensive": (
        SLIGHTLY_MORE,
        90,
        1.0,
        False,
        "It pays, as far as these questions show: the large model alone",
    ),
    "all the same": (FEW, 50, 1.0, False, "No difference shown from the large model alone"),
    "worse and cheaper": (
        "." * 60,
        20,
        1.0,
        False,
        "A trade-off: the large model alone is cheaper, but has fewer right",
    ),
    "worse and more expensive": (
        "." * 60,
        90,
        1.0,
        False,
        "It pays: the large model alone has fewer right answers and is more expensive",
    ),
    "worse for the same": (
        "." * 60,
        50,
        1.0,
        False,
        "It pays: the large model alone has fewer right answers and costs",
    ),
}


@pytest.mark.parametrize(("right", "cost", "seconds", "dominated", "expected"), TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("priced", [True, False], ids=["by cost", "by time"])
def test_a_pair_is_compared_with_the_target_alone(
    right: str, cost: int, seconds: float, *, dominated: bool, expected: str, priced: bool
) -> None:
    """Verdicts use the cost if prices are known. Without prices, the time takes the place of the cost."""
    if not priced:
        seconds, cost = cost / 50, 7
        for word, instead in {
            "cheaper": "faster",
            "more expensive": "slower",
            "costs the same": "takes as long",
        }.items():
            expected = expected.replace(word, instead)
        expected = expected.removesuffix("costs") + ("takes" if expected.endswith("costs") else "")
    found = Evaluation(
        {"target": outcomes(right, target=100, cost=cost, seconds=seconds), "pair": outcomes(FEW, target=20, cost=50)},
        {"target": "target", "pair": None},
        PRICES if priced else {},
    )
    (verdict,) = verdicts(found, "pair")
    assert verdict.text.startswith(expected)
    assert verdict.dominated == dominated
    points = 100 * (right.count("*") - FEW.count("*")) / len(FEW)
    assert f"Right answers: {points:+.1f} points, p = " in verdict.text
    assert ("; cost: " in verdict.text) == priced


def test_every_combination_of_relations_has_a_sentence() -> None:
    relations: list[Relation] = ["more", "same", "less"]
    found = {compare(better, expense, "x", "time")[1] for better in relations for expense in relations}
    assert len(found) == 9
    assert not any("{" in text for text in found)


@pytest.mark.parametrize(
    ("right", "target", "expected"),
    [
        (
            "*" * 45 + "." * 15,
            20,
            "Better than a coin that sends 20.0% of the whole questions to the large model (44.0%",
        ),
        ("." * 40 + "*" * 20, 90, "Worse than a coin that sends 90.0%"),
        ("*" * 18 + "." * 10 + "*" * 5 + "." * 27, 10, "No difference shown from a coin that sends 10.0%"),
    ],
)
def test_a_pair_is_compared_with_a_coin(right: str, target: int, expected: str) -> None:
    small, large = "*" * 20 + "." * 40, "*" * 20 + "." * 8 + "*" * 32
    found = Evaluation(
        {
            "small": outcomes(small, target=0, cost=0),
            "target": outcomes(large, target=100, cost=100),
            "pair": outcomes(right, target=target, cost=50),
        },
        {"small": "speculative", "target": "target", "pair": None},
    )
    with_target, with_small, with_coin = verdicts(found, "pair")
    assert "the large model alone" in with_target.text
    assert "the small model alone" in with_small.text
    assert with_coin.text.startswith(expected)


@pytest.mark.parametrize(
    ("small", "cost", "reason"),
    [
        (20, 200, "it costs more than the large model alone"),
        (20, 5, "it costs less than the small model alone"),
        (100, 100, "the large model alone costs no more than the small one alone"),
    ],
)
def test_a_verdict_says_why_no_coin_costs_as_much(small: int, cost: int, reason: str) -> None:
    runs = {
        "small": outcomes(FEW, target=0, cost=small),
        "target": outcomes(ALL, target=100, cost=100),
        "pair": outcomes(FEW, target=20, cost=cost),
    }
    found = Evaluation(runs, {"small": "speculative", "target": "target", "pair": None}, PRICES)
    texts = [verdict.text for verdict in verdicts(found, "pair")]
    assert f"No coin over whole questions costs as much as this pair: {reason}." in texts
    assert list(found.rows) == ["small", "target", "pair"]


@pytest.mark.parametrize(("cost", "share"), [(50, 0.375), (20, 0.0), (5, None), (100, 1.0), (200, None)])
def test_a_coin_of_the_same_cost(cost: int, share: float | None) -> None:
    """The small model costs 20 per question and the target 100. A coin that costs 50 sends 3 in 8 to the target."""
    found = Evaluation(
        {
            "small": outcomes(FEW, target=0, cost=20),
            "target": outcomes(ALL, target=100, cost=100),
            "pair": outcomes(FEW, target=1, cost=cost),
        },
        {"small": "speculative", "target": "target", "pair": None},
        PRICES,
    )
    last = verdicts(found, "pair")[-1]
    if share is None:  # no coin has this cost
        assert found.cost_share("pair") is None
        assert "of the same cost" not in last.text
    else:
        assert found.cost_share("pair") == pytest.approx(share)
        assert f"of the same cost that sends {share:.1%} of the whole questions" in last.text
        coin = found.coins["pair"]
        assert sum(coin.costs) == pytest.approx(sum(found.figures["pair"].costs))
        assert f"({coin.accuracy.value:.1%} right on average)" in last.text
        assert last.dominated == (share > 0)
    assert replace(found, prices={}).cost_share("pair") is None


def test_errors_do_not_lower_the_cost() -> None:
    """The target costs twice as much as the pair per answer. Half of its questions failed and cost nothing."""
    answered = outcomes(ALL, target=100, cost=100)
    failed = tuple(
        replace(one, right=False, error="503", usage={"target": AuthorUsage()}, seconds=0.0) for one in answered[:30]
    )
    runs = {"target": (*failed, *answered[30:]), "pair": outcomes(ALL, target=20, cost=50)}
    found = Evaluation(runs, {"target": "target", "pair": None})
    (verdict,) = verdicts(replace(found, prices={"target": PRICES["target"]}), "pair")
    assert verdict.text.startswith("It pays, as far as these questions show: the large model alone is more expensive")
    assert "Right answers: +0.0 points, p = 1; cost: 2.00 times the pair's; time: 1.00 times" in verdict.text
    assert verdict.text.endswith("30 of 60 questions ended in an error and were left out.")
    none = tuple(replace(one, error="503") for one in answered)
    (verdict,) = verdicts(Evaluation({**runs, "target": none}, found.alone), "pair")
    assert verdict.text == "Nothing to compare: with pair or target, every question ended in an error."


def test_a_pair_is_compared_with_further_models() -> None:
    """A model in between is better than the pair, and cheaper."""
    runs = {
        "small": outcomes(FEW, target=0, cost=20),
        "target": outcomes(ALL, target=100, cost=100),
        "pair": outcomes(SLIGHTLY_MORE, target=20, cost=50),
        "14b": outcomes(MANY, target=100, cost=120),
    }
    alone: dict[str, Author | None] = {"small": "speculative", "target": "target", "pair": None, "14b": "target"}
    found = Evaluation(runs, alone, PRICES, {"14b": Price(0, 300_000)})
    dominated = [verdict for verdict in verdicts(found, "pair") if verdict.dominated]
    (against_14b,) = [verdict.text for verdict in dominated if "14b" in verdict.text]
    assert against_14b.startswith("Dominated: 14b alone is better and cheaper here.")
    assert found.cost_share("pair") == 0.375


def test_few_questions_give_no_verdict() -> None:
    """The pair answers all five questions right, the small model none. Every interval would be empty."""
    runs = {
        "small": outcomes("." * 5, target=0, cost=20),
        "target": outcomes("*" * 5, target=100, cost=100),
        "pair": outcomes("*" * 5, target=20, cost=50),
    }
    found = Evaluation(runs, {"small": "speculative", "target": "target", "pair": None}, PRICES)
    assert [verdict.text for verdict in verdicts(found, "pair")] == [
        "Too few questions for a verdict: 5. Use about 100 questions."
    ]


def test_figures_of_one_question_are_json() -> None:
    found = as_dict(Evaluation({"x": outcomes("*", target=10, cost=1)}, {"x": None}, PRICES))
    assert json.loads(json.dumps(found, allow_nan=False))["variants"]["x"]["seconds"]["low"] is None


def test_speed_ignores_pauses_between_turns() -> None:
    times = [(0.0, 2.0), (1.0, 2.0), (10.0, 1.0)]  # three seconds of work, a pause, one second of work
    tokens: dict[Author, int] = {"speculative": 30, "target": 10}
    ran = tuple(
        Outcome(f"q{n}", right=True, error=None, tokens=tokens, usage={}, began=began, seconds=seconds)
        for n, (began, seconds) in enumerate(times)
    )
    assert Evaluation({"x": ran}, {"x": None}).figures["x"].tokens_per_second == pytest.approx(3 * 40 / 4)

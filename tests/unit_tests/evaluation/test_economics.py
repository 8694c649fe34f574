"""The floor of a pair on a billed large model, and the length and number of takeovers at which it breaks even."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from langchain_spec_thinking.evaluation import Evaluation
from langchain_spec_thinking.evaluation.economics import Economics, TakeoverCosts, takeover_costs
from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.report import as_dict
from langchain_spec_thinking.evaluation.tables import markdown
from langchain_spec_thinking.price import Price
from langchain_spec_thinking.report import AuthorUsage

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.turn import Author

LENGTHS = (20, 60, 125, 250)
# Completion price and cached price in units of the prompt price: the relative cost for each length, and the floor. The
# text is P = 200, N = 4583, s = 0.19 and 3500 tokens of the large model alone. The paper measured the last three.
CELLS: dict[tuple[float, float], tuple[str, str]] = {
    (2, 1.0): ("15 5.3 2.7 1.5", "0.79"),
    (2, 0.25): ("4.4 1.9 1.3 0.95", "0.79"),
    (2, 0.1): ("2.3 1.2 0.97 0.85", "0.79"),
    (3, 1.0): ("10 3.6 1.9 1.1", "0.61"),
    (3, 0.25): ("3.1 1.4 0.93 0.72", "0.61"),
    (3, 0.1): ("1.6 0.92 0.74 0.66", "0.61"),
    (5, 1.0): ("6.4 2.3 1.2 0.74", "0.47"),
    (5, 0.25): ("2.0 0.93 0.66 0.54", "0.47"),
    (5, 0.1): ("1.07 0.65 0.54 0.49", "0.47"),
}


def paper(completion: float, cached: float) -> Economics:
    return Economics(prompt=200, length=4583, share=0.19, alone=3500, price=Price(1, completion, cached))


def as_cell(value: float, like: str) -> str:
    """Round as the cells were rounded: half up to hundredths, and then half up to the digits of the cell."""
    hundredths = Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return str(hundredths.quantize(Decimal(like), ROUND_HALF_UP))


@pytest.mark.parametrize(("completion", "cached"), CELLS, ids=[f"r {r} and c {c}" for r, c in CELLS])
def test_the_papers_text_costs_what_the_formula_says(completion: float, cached: float) -> None:
    pair, (cells, floor) = paper(completion, cached), CELLS[completion, cached]
    found = [as_cell(pair.relative_cost(length), cell) for length, cell in zip(LENGTHS, cells.split(), strict=True)]
    assert found == cells.split()
    assert as_cell(pair.floor, floor) == floor


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (Price(1, 3), 269),
        (Price(1, 3, 0.25), 106),
        (Price(1, 3, 0.1), 48),
        (Price(1, 1.5, 0.1), 350),
        (Price(1, 1.3, 0.1), None),  # reading the text once and writing cost more than the large model alone
        (Price(0, 1, 0), 0),
    ],
)
def test_the_break_even_length_falls_with_the_price_of_reading(price: Price, expected: float | None) -> None:
    found = replace(paper(1, 1), price=price).break_even_tokens
    assert (None if found is None else round(found)) == expected


def test_takeovers_that_cost_nothing_have_no_largest_number() -> None:
    """Only half of the turns ask the large model, so it reads less than in its own turns."""
    pair = Economics(prompt=1000, length=100, share=0.5, alone=50, price=Price(1, 0, 0), asked=0.5)
    assert (pair.break_even_takeovers, pair.break_even_tokens) == (math.inf, 0)
    assert TakeoverCosts(pair, 3).as_dict()["break_even_takeovers"] is None
    assert "Every takeover length pays here" in TakeoverCosts(pair, 3).sentences()[1]


prices = st.builds(Price, st.floats(0.01, 10), st.floats(0.01, 50), st.none() | st.floats(0, 10))
economics = st.builds(
    Economics,
    prompt=st.floats(0, 10_000),
    length=st.floats(1, 50_000),
    share=st.floats(0.001, 1),
    alone=st.floats(1, 50_000),
    price=prices,
    asked=st.floats(0.01, 1),
    small_cost=st.floats(0, 0.01),
)


@given(economics, st.floats(1, 1000), st.floats(1, 1000))
def test_longer_takeovers_never_cost_more(pair: Economics, one: float, other: float) -> None:
    short, long = sorted([one, other])
    assert pair.relative_cost(long) <= pair.relative_cost(short) * (1 + 1e-9)


@given(economics, st.floats(0, 10_000))
def test_the_cost_is_above_the_floor(pair: Economics, takeovers: float) -> None:
    assert pair.cost(takeovers) >= pair.floor * pair.cost_alone * (1 - 1e-9)


@given(economics)
def test_at_break_even_the_pair_costs_as_much_as_the_large_model_alone(pair: Economics) -> None:
    number, tokens = pair.break_even_takeovers, pair.break_even_tokens
    if number is None:
        assert tokens is None
        assert pair.cost(0) >= pair.cost_alone * (1 - 1e-9)
    else:
        assert pair.cost(number) == pytest.approx(pair.cost_alone)
        assert tokens is not None
        assert tokens * number == pytest.approx(pair.written)


@given(economics, st.floats(1.01, 10))
def test_beyond_break_even_fewer_takeovers_are_cheaper(pair: Economics, factor: float) -> None:
    number = pair.break_even_takeovers
    assume(number is not None and number > 1e-6)
    assert number is not None
    assert pair.cost(number * factor) >= pair.cost_alone * (1 - 1e-9)
    assert pair.cost(number / factor) <= pair.cost_alone * (1 + 1e-9)


@given(economics, st.floats(0.01, 100))
def test_the_unit_of_the_prices_does_not_matter(pair: Economics, factor: float) -> None:
    price = pair.price
    cached = None if price.cached is None else factor * price.cached
    scaled = Price(factor * price.prompt, factor * price.completion, cached)
    other = replace(pair, price=scaled, small_cost=factor * pair.small_cost)
    assert other.floor == pytest.approx(pair.floor)
    assert other.relative_cost(20) == pytest.approx(pair.relative_cost(20))


PAPER = paper(3, 0.25)
SAME = "this pair costs as much as the large model alone"
TURNS = {
    "the break-even length and number": (
        PAPER,
        [
            f"Break-even length: with 106 tokens per takeover, {SAME}. It had 20; longer takeovers are cheaper.",
            f"Break-even number: with 8.2 takeovers in each turn that has any, {SAME}. It had 44; fewer takeovers",
        ],
    ),
    "no length pays, because the text must be read once": (
        replace(PAPER, price=Price(1, 1)),
        ["No takeover length pays here: even with a single takeover per turn, this pair costs more than the large "],
    ),
    "no length pays, because the small model costs too much": (
        replace(PAPER, small_cost=0.004174),
        ["No takeover length pays here"],
    ),
    "every length pays, because reading is free": (
        replace(PAPER, price=Price(0, 9, 0)),
        ["Every takeover length pays here: even with one token per takeover"],
    ),
}


@pytest.mark.parametrize(("pair", "expected"), TURNS.values(), ids=TURNS)
def test_each_figure_is_a_sentence(pair: Economics, expected: list[str]) -> None:
    floor, *others = TakeoverCosts(pair, pair.written / 20).sentences()
    assert floor == (
        "Floor: if the large model read each text only once, and the small model were free, this pair would cost "
        f"{pair.floor:.0%} of the large model alone."
    )
    assert len(others) == len(expected)
    assert all(found.startswith(text) for found, text in zip(others, expected, strict=True))


def outcome(number: int, *, target: int, requests: int, cached: int = 0, right: bool = True) -> Outcome:
    """Return a turn of 400 tokens with a prompt of 100. A request of the pair reads the prompt and half of the text."""
    tokens: dict[Author, int] = {"speculative": 400 - target, "target": target}
    read = 100 if target == 400 else 300 * requests
    usage: dict[Author, AuthorUsage] = {
        "speculative": AuthorUsage(1, 100, 0, 400 - target),
        "target": AuthorUsage(requests, read, cached, target),
    }
    takeovers = tuple((n / 10, "reflection") for n in range(requests if target < 400 else 0))
    return Outcome(f"q{number}", right, None, tokens, usage, 0.0, 1.0, takeovers)


def evaluation(change: Callable[[Outcome], Outcome] = lambda one: one, *, cached: int = 0) -> Evaluation:
    """Return an evaluation in which every second turn of the pair has four takeovers of 25 tokens."""
    turns = [outcome(n, target=100 if n % 2 else 0, requests=4 * (n % 2), cached=cached * (n % 2)) for n in range(20)]
    return Evaluation(
        {
            "small": tuple(outcome(n, target=0, requests=0) for n in range(20)),
            "target": tuple(outcome(n, target=400, requests=1) for n in range(20)),
            "pair": tuple(map(change, turns)),
        },
        {"small": "speculative", "target": "target", "pair": None},
        {"speculative": Price(0.1, 0.1), "target": Price(1, 5, 0.1)},
    )


def test_the_turn_is_measured_from_the_runs() -> None:
    found = takeover_costs(evaluation(cached=800), "pair")
    assert found is not None
    pair = found.economics
    assert (pair.prompt, pair.length, pair.share, pair.alone, pair.asked) == (100, 400, 0.25, 400, 0.5)
    assert (found.takeovers, found.takeover_tokens) == (4, 25)
    assert pair.small_cost == pytest.approx((0.1 * 100 + 0.1 * 350) / 1e6)
    assert pair.price.cached == pytest.approx(0.1)  # 800 tokens were read again, all from the cache
    assert pair.floor == pytest.approx(0.5 * (400 + 5 * 100) / (100 + 5 * 400))


@pytest.mark.parametrize(("cached", "price"), [(0, 1.0), (400, 0.55), (800, 0.1), (1100, 0.1)])
def test_the_cached_price_counts_as_often_as_the_server_cached(cached: int, price: float) -> None:
    found = takeover_costs(evaluation(cached=cached), "pair")
    assert found is not None
    assert found.economics.price.cached == pytest.approx(price)


def test_a_question_that_ended_in_an_error_does_not_count() -> None:
    failed = replace(outcome(0, target=0, requests=0), error="503", usage={"target": AuthorUsage()})
    found = takeover_costs(evaluation(lambda one: failed if one.question == "q3" else one), "pair")
    assert found is not None
    assert found.economics.asked == pytest.approx(9 / 19)


def no_takeovers(one: Outcome) -> Outcome:
    return replace(one, takeovers=())


def only_openings(one: Outcome) -> Outcome:
    return replace(one, takeovers=((0.0, "opening"),) if one.takeovers else ())


def escalated(one: Outcome) -> Outcome:
    return replace(one, escalated=True)


NOTHING = {
    "there were no takeovers": evaluation(no_takeovers),
    "the large model wrote only the opening": evaluation(only_openings),
    "the large model got whole questions": evaluation(escalated),
    "every question ended in an error": evaluation(lambda one: replace(one, error="503")),
    "prices are not known": replace(evaluation(), prices={}),
    "the large model costs nothing": replace(evaluation(), prices={"target": Price(0, 0)}),
    "the large model did not run alone": evaluation().restricted_to("small", "pair"),
}


@pytest.mark.parametrize("found", NOTHING.values(), ids=NOTHING)
def test_nothing_is_said_if(found: Evaluation) -> None:
    assert takeover_costs(found, "pair") is None
    assert "Floor" not in markdown(found)


def test_the_sentences_and_figures_are_saved() -> None:
    text, figures = markdown(evaluation(cached=800)), json.loads(json.dumps(as_dict(evaluation()), allow_nan=False))
    assert "\n- Floor: if the large model read each text only once" in text
    assert "\n- Break-even length: with " in text
    assert "\n- Break-even number: with " in text
    assert figures["takeover_costs"]["pair"]["floor"] == pytest.approx(450 / 2100)

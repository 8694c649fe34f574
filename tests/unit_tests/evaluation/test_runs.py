"""Runs of an evaluation: each question is answered once, and the results are computed from these runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from langchain_spec_thinking import (
    Backend,
    ChatSpeculativeThinking,
    DelegationPolicy,
    Price,
    RandomTrigger,
    read_records,
    replay,
)
from langchain_spec_thinking.backends.base import Event, Piece, Request
from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.evaluate import show
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.evaluation import Evaluation, Question, Variant, alone, evaluate
from langchain_spec_thinking.evaluation.outcomes import SIDES
from langchain_spec_thinking.evaluation.report import save
from langchain_spec_thinking.evaluation.runs import read_runs
from langchain_spec_thinking.evaluation.statistics import mean
from langchain_spec_thinking.evaluation.tables import markdown
from langchain_spec_thinking.evaluation.variants import reseeded
from langchain_spec_thinking.price import FREE
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.evaluation.sums import HARD, NUMBER, large, pair, small, sums, sums_file
from tests.unit_tests.library_output import collect_output

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.turn import Author, Turn

SUMS = sums()


def variants(**settings: Any) -> list[Variant]:
    both = pair(**settings)
    return [alone(both, "speculative", "small"), alone(both, "target", "target"), Variant("pair", both)]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()]


def test_each_variant_answers_each_question(tmp_path: Path) -> None:
    found = evaluate(SUMS, variants(), tmp_path)
    rights = {name: sum(figures.is_right) for name, figures in found.figures.items()}
    assert rights == {"small": HARD - 1, "target": NUMBER, "pair": NUMBER}
    figures = found.figures["pair"]
    assert [o.question for o in figures.outcomes] == [q.id for q in SUMS]
    assert found.figures["small"].target_share.value == 0
    assert found.figures["target"].target_share.value == 1
    assert found.figures["target"].outcomes[0].usage["speculative"].requests == 0
    assert found.figures["target"].outcomes[0].usage["target"].prompt_tokens > 0
    assert 0 < figures.target_share.value < 1
    assert figures.takeovers == 1
    assert {kind for outcome in figures.outcomes for _, kind in outcome.takeovers} == {"reflection"}
    assert all(0 < at < 1 for outcome in figures.outcomes for at, _ in outcome.takeovers)
    assert found.tests["pair", "small"].only_first == NUMBER - HARD + 1
    assert found.tests["pair", "small"].p < 0.01


def test_every_run_is_recorded_and_can_be_replayed(tmp_path: Path) -> None:
    evaluate(SUMS[:4], variants(), tmp_path)
    assert Counter(line["variant"] for line in lines(tmp_path)) == {"small": 4, "target": 4, "pair": 4}
    for record, right in read_runs(tmp_path / "runs.jsonl", "pair"):
        assert replay(record).valid
        assert right
    with pytest.raises(ValueError, match="no answers of me; it has answers of pair, small, target"):
        read_runs(tmp_path / "runs.jsonl", "me")
    with pytest.raises(ValueError, match="line 1: expected a record"):
        read_records(tmp_path / "runs.jsonl")


class _KilledError(BaseException):
    """Ends the process, as Ctrl-C does."""


def test_stored_answers_are_not_repeated_after_an_interruption(tmp_path: Path) -> None:
    """The evaluation is killed several times, after different numbers of answers. No stored question is asked again."""
    questions: Counter[tuple[str, str]] = Counter()
    names = ("small", "target", "pair")

    def counting(name: str, script: Any) -> ScriptedBackend:
        return ScriptedBackend(script, name=name, thinks=True)

    kept = 0
    for after in (7, 15, 3, 999):
        backends = {"speculative": counting("small", small), "target": counting("large", large)}
        seen = 0

        def on_outcome(_name: str, _outcome: Outcome, kept: int = kept, after: int = after) -> None:
            nonlocal seen
            seen += 1
            if seen > kept + after:
                raise _KilledError

        try:
            evaluate(SUMS, variants(**backends), tmp_path, concurrency=1, on_outcome=on_outcome)
        except _KilledError:
            assert seen == kept + after + 1
        kept = len(lines(tmp_path))
    for line in lines(tmp_path):
        questions[line["variant"], line["id"]] += 1
    assert questions == {(name, question.id): 1 for name in names for question in SUMS}


class Endless(Backend):
    """Writes without end."""

    name = "endless"
    thinks = True

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        while True:
            yield Piece(" on and on", 0)


@pytest.mark.timeout(60)
def test_running_turns_stop_if_the_evaluation_is_interrupted(tmp_path: Path) -> None:
    def on_outcome(_name: str, _outcome: Outcome) -> None:
        raise _KilledError

    class Mixed(Endless):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            quick = "is 0 + 1" in turn.history[-1].content
            return (ScriptedBackend(large) if quick else Endless()).continue_turn(turn, request)

    one = alone(pair(target=Mixed()), "target", "target")
    with pytest.raises(_KilledError):
        evaluate(SUMS, [one], tmp_path, concurrency=4, on_outcome=on_outcome)
    assert [line["id"] for line in lines(tmp_path)] == ["q0"]


def test_a_finished_evaluation_sends_no_request(tmp_path: Path) -> None:
    first = evaluate(SUMS, variants(), tmp_path)
    silent = ScriptedBackend(lambda _: pytest.fail("asked again"), name="small", thinks=True)
    again = evaluate(SUMS, variants(speculative=silent, target=replace(silent, name="large")), tmp_path)
    assert again.outcomes == first.outcomes
    fewer = evaluate(SUMS[:3], variants(speculative=silent, target=replace(silent, name="large")), tmp_path)
    assert fewer.figures["pair"].count == 3


def test_a_half_written_line_is_answered_again(tmp_path: Path) -> None:
    evaluate(SUMS[:3], variants(), tmp_path)
    file = tmp_path / "runs.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    evaluate(SUMS[:3], variants(), tmp_path)
    assert len(lines(tmp_path)) == 9


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"policy": DelegationPolicy(takeover_tokens=40)}, "pair: .*policy.takeover_tokens: 20, now 40"),
        ({"policy": DelegationPolicy(trigger=RandomTrigger(1))}, "policy.trigger.type: 'CueTrigger', now 'RandomTr"),
        ({"temperature": 0.1}, "small: .*temperature: 0.6, now 0.1.*Give it another name"),
        ({"target": ScriptedBackend("x", name="other")}, "target: .*speculative.name: 'large', now 'other'"),
    ],
)
def test_other_settings_under_a_name_are_refused(changed: dict[str, Any], expected: str, tmp_path: Path) -> None:
    evaluate(SUMS[:2], variants(), tmp_path)
    with pytest.raises(ValueError, match=expected):
        evaluate(SUMS[:2], variants(**changed), tmp_path)
    assert len(lines(tmp_path)) == 6


def without_fields(data: Any, names: set[str]) -> Any:
    """Return settings as a version wrote them that did not know these fields."""
    if isinstance(data, dict):
        return {name: without_fields(value, names) for name, value in data.items() if name not in names}
    return data


def test_settings_of_an_older_version_lack_fields_that_have_their_defaults(tmp_path: Path) -> None:
    evaluate(SUMS[:2], variants(), tmp_path)
    file = tmp_path / "settings.json"
    new = json.loads(file.read_text(encoding="utf-8"))
    older = without_fields(new, {"thinking_tokens", "takeover_interval", "escalation", "reference_rules", "substrings"})
    assert older != new
    file.write_text(json.dumps(older), encoding="utf-8")
    evaluate(SUMS[:2], variants(), tmp_path)
    assert json.loads(file.read_text(encoding="utf-8")) == new
    file.write_text(json.dumps(older), encoding="utf-8")
    with pytest.raises(ValueError, match=r"policy\.takeover_interval: 0, now 9"):
        evaluate(SUMS[:2], variants(policy=DelegationPolicy(takeover_interval=9)), tmp_path)


def test_settings_of_an_older_version_hold_the_stop_strings_once(tmp_path: Path) -> None:
    """LangChain's caches need them under another name too. The files of an evaluation do not."""
    evaluate(SUMS[:2], variants(stop=["q"]), tmp_path)
    file = tmp_path / "settings.json"
    older = without_fields(json.loads(file.read_text(encoding="utf-8")), {"stop_strings"})
    file.write_text(json.dumps(older), encoding="utf-8")
    evaluate(SUMS[:2], variants(stop=["q"]), tmp_path)
    assert json.loads(file.read_text(encoding="utf-8")) == older
    with pytest.raises(ValueError, match=r"stop: \['q'\], now None"):
        evaluate(SUMS[:2], variants(), tmp_path)


def test_two_variants_of_one_name_are_refused(tmp_path: Path) -> None:
    one = Variant("x", pair())
    with pytest.raises(ValueError, match="different names, got x, x"):
        evaluate(SUMS, [one, one], tmp_path)


def test_a_failed_question_is_reported_counted_as_wrong_and_retried(tmp_path: Path) -> None:
    def broken(turn: Turn) -> str:
        if "is 7 + 1" in turn.history[-1].content:
            msg = "the server is gone"
            raise BackendError(msg)
        if "is 8 + 1" in turn.history[-1].content:
            msg = "a defect"
            raise KeyError(msg)
        return small(turn)

    failing = variants(speculative=ScriptedBackend(broken, name="small", thinks=True))
    errors: list[str | None] = []
    found = evaluate(SUMS, failing, tmp_path, on_outcome=lambda _, outcome: errors.append(outcome.error))
    figures = found.figures["small"]
    assert figures.errors == 2
    assert sum(figures.is_right) == HARD - 3
    assert [o.error for o in figures.outcomes[7:9]] == ["BackendError: the server is gone", "KeyError: 'a defect'"]
    assert [error for error in errors if error].count("BackendError: the server is gone") == 2
    assert "| errors |" in markdown(found)
    repaired = evaluate(SUMS, variants(), tmp_path)
    assert repaired.figures["small"].errors == 0
    assert len(lines(tmp_path)) == 3 * NUMBER + 4


def test_another_check_uses_the_stored_answers(tmp_path: Path) -> None:
    evaluate(SUMS[:3], variants(), tmp_path, check="exact")
    silent = ScriptedBackend(lambda _: pytest.fail("asked again"), name="small", thinks=True)
    again = variants(speculative=silent, target=replace(silent, name="large"))
    wrong = [Question(q.id, q.question, "99") for q in SUMS[:3]]
    assert evaluate(wrong, again, tmp_path, check="math").figures["pair"].accuracy.value == 0


def test_random_takeovers_differ_between_questions_and_repeat_for_the_same_question(tmp_path: Path) -> None:
    tossed = Variant("coin", pair(policy=DelegationPolicy(trigger=RandomTrigger(0.5))))
    first = evaluate(SUMS, [tossed], tmp_path / "one").figures["coin"].outcomes
    second = evaluate(SUMS, [tossed], tmp_path / "two", concurrency=1).figures["coin"].outcomes
    assert [o.takeovers for o in first] == [o.takeovers for o in second]
    assert len({len(o.takeovers) for o in first}) > 1
    assert reseeded((RandomTrigger(0.5), 3), 7) == (RandomTrigger(0.5, 7), 3)


def test_several_turns_run_at_the_same_time(tmp_path: Path) -> None:
    import threading  # noqa: PLC0415

    together = threading.Barrier(4)

    def waiting(turn: Turn) -> str:
        if not turn.thinking:
            together.wait()
        return large(turn)

    one = alone(pair(target=ScriptedBackend(waiting, thinks=True)), "target", "target")
    assert evaluate(SUMS[:8], [one], tmp_path, concurrency=4).figures["target"].accuracy.value == 1


def test_each_pair_has_a_coin_of_its_target_share_if_prices_are_not_known(tmp_path: Path) -> None:
    found = evaluate(SUMS, variants(), tmp_path)
    (coin,) = found.coins.values()
    share = found.figures["pair"].target_share.value
    little = found.figures["small"].accuracy.value
    assert list(found.rows) == ["small", "target", "pair", "coin as pair"]
    assert coin.share == share
    assert coin.accuracy.value == pytest.approx(share + (1 - share) * little)
    assert coin.costs == ()
    expected, difference = found.compare_with_coin("pair", share)
    assert expected == coin.accuracy
    assert difference.value == pytest.approx(1 - expected.value)
    assert Evaluation({"pair": found.outcomes["pair"]}, {"pair": None}).coins == {}


def test_each_pair_has_a_coin_of_its_cost(tmp_path: Path) -> None:
    found = replace(evaluate(SUMS, variants(), tmp_path), prices={"speculative": Price(0, 0), "target": Price(1, 40)})
    coin, pair_ = found.coins["pair"], found.figures["pair"]
    small, large = found.figures["small"], found.figures["target"]
    assert sum(coin.costs) == pytest.approx(sum(pair_.costs))
    assert 0 < coin.share < 1
    assert coin.share != pytest.approx(pair_.target_share.value, abs=0.01)
    assert coin.tokens("target") == pytest.approx(coin.share * large.tokens("target"))
    assert coin.tokens("speculative") == pytest.approx((1 - coin.share) * small.tokens("speculative"))
    written = coin.tokens("speculative") + coin.tokens("target")
    assert coin.target_share.value == pytest.approx(coin.tokens("target") / written)
    mixed = [(1 - coin.share) * a + coin.share * b for a, b in zip(small.seconds, large.seconds, strict=True)]
    assert coin.seconds == pytest.approx(mixed)


def test_a_pair_that_costs_more_than_the_large_model_has_no_coin(tmp_path: Path) -> None:
    found = replace(evaluate(SUMS, variants(), tmp_path), prices={"speculative": Price(9, 9), "target": Price(10, 10)})
    assert found.cost_share("pair") is None
    assert list(found.rows) == ["small", "target", "pair"]


def test_a_further_model_is_one_more_row_with_its_own_price(tmp_path: Path) -> None:
    """It makes the same errors as the small model, at a price of its own."""
    middle = pair(target=ScriptedBackend(small, name="middle", thinks=True))
    further = alone(middle, "target", "middle")
    found = replace(
        evaluate(SUMS, [*variants(), further], tmp_path), prices=PRICES, further_prices={"middle": Price(1, 2)}
    )
    assert found.further == ["middle"]
    assert found.side("target") == "target"
    assert found.pairs == ["pair"]
    figures = found.figures["middle"]
    assert figures.is_right == found.figures["small"].is_right
    assert figures.costs[0] == pytest.approx(Price(1, 2).of(figures.outcomes[0].usage["target"]))
    assert found.tests["middle", "pair"].only_second == NUMBER - HARD + 1
    text = markdown(found)
    assert "| middle | 45.0% |" in text
    assert "| middle - pair | -55.0% |" in text
    assert re.search(r"\n- .* middle alone .*Right answers: -55\.0 points", text)
    saved = json.loads((save(found, tmp_path)[0]).read_text(encoding="utf-8"))
    assert saved["further_prices"] == {"middle": {"prompt": 1, "completion": 2, "cached": None}}


PRICES: dict[Author, Price] = {"speculative": Price(0.1, 0.4), "target": Price(2, 8, 0.5)}


def test_costs_include_every_request(tmp_path: Path) -> None:
    found = replace(evaluate(SUMS, variants(), tmp_path), prices=PRICES)
    for figures in found.figures.values():
        outcome = figures.outcomes[3]
        expected = sum((price.of(outcome.usage[side]) for side, price in PRICES.items()), start=0.0)
        assert figures.costs[3] == expected > 0
    assert found.figures["target"].costs[0] == PRICES["target"].of(found.figures["target"].outcomes[0].usage["target"])
    for _ in range(2):
        assert markdown(found).count("cost of 1000") == 1


@pytest.mark.parametrize("prices", [{}, PRICES])
def test_figures_tables_and_plots_are_saved(prices: dict[Any, Price], tmp_path: Path) -> None:
    found = replace(evaluate(SUMS, variants(), tmp_path), prices=prices)
    files = save(found, tmp_path)
    names = {file.name for file in files}
    first = "accuracy_cost.png" if prices else "accuracy_target_tokens.png"
    assert names == {"results.json", "results.md", first, "accuracy_time.png", "lengths.png", "takeovers.png"}
    for file in files:
        content = file.read_bytes()
        assert content.startswith(b"\x89PNG") if file.suffix == ".png" else content.decode()
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["variants"]["pair"]["right"] == NUMBER
    assert results["variants"]["coin as pair"]["tokens_per_second"] is None
    assert (results["variants"]["pair"]["cost"] is not None) == bool(prices)
    assert len(results["verdicts"]["pair"]) == (4 if prices else 3)
    table = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert re.search(r"\| pair \| 100.0% \| 83.9% to 100.0% \|", table)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", *arguments])


def test_the_command_on_the_pocket_pair(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [
        "--data",
        "pocket:2",
        "--max-tokens",
        "60",
        "--out",
        str(out),
        "--policy",
        "pair",
        "--variant",
        "fast=pocket:small",
        "--variant-price",
        "fast=0.1,0.2",
    ]
    options += ["--policy", "never:trigger=random,probability=0"]
    options += ["--speculative-price", "0,0", "--target-price", "1,2,0.5"]
    with collect_output() as output:
        result = run(*options)
    assert output == []
    assert result.exit_code == 0, result.output
    for expected in ("small: 2 of 2", "never: 2 of 2", "fast: 2 of 2", "McNemar", "results.json", "cost"):
        assert expected in result.output
    assert len(lines(out)) == 10
    again = run(*options)
    assert again.exit_code == 0
    assert len(lines(out)) == 10
    figures = json.loads((out / "results.json").read_text(encoding="utf-8"))["variants"]
    assert figures["fast"]["right"] == figures["small"]["right"]
    assert figures["fast"]["cost"]["value"] > figures["small"]["cost"]["value"] == 0
    assert (out / "takeovers.png").exists()


SERVER = "openai:m@http://127.0.0.1:9/v1"
PRICED: dict[str, Price | None] = {"free": FREE, "priced": Price(1, 2), "unknown": None}


@pytest.mark.parametrize(
    ("small", "large", "given", "expected"),
    [
        pytest.param("priced", "priced", (None, None), ("priced", "priced"), id="the backends know both prices"),
        pytest.param("free", "priced", (None, None), ("free", "priced"), id="a local model costs nothing"),
        pytest.param("free", "free", (None, None), None, id="if both models cost nothing, times are compared"),
        pytest.param("unknown", "priced", (None, None), None, id="one price is not known"),
        pytest.param("unknown", "priced", (FREE, None), ("free", "priced"), id="the unknown price is given"),
        pytest.param("priced", "free", (FREE, Price(1, 2)), ("free", "priced"), id="given prices replace known ones"),
        pytest.param("unknown", "unknown", (FREE, FREE), ("free", "free"), id="prices of zero are given"),
    ],
)
def test_the_prices_of_an_evaluation(
    small: str, large: str, given: tuple[Price | None, Price | None], expected: tuple[str, str] | None
) -> None:
    speculative, target = (ScriptedBackend(name=name, price=PRICED[name]) for name in (small, large))
    found = pairs.prices(*given, ChatSpeculativeThinking(speculative=speculative, target=target))
    assert found == ({side: PRICED[name] for side, name in zip(SIDES, expected, strict=True)} if expected else {})


def test_the_terminal_shows_coins_and_the_floor_and_cuts_no_figure(tmp_path: Path) -> None:
    found = replace(evaluate(SUMS, variants(), tmp_path), prices={"speculative": Price(0, 0), "target": Price(1, 40)})
    for width in (80, 160):
        console = Console(file=StringIO(), width=width)
        show(console, found)
        output = console.file.getvalue()  # type: ignore[attr-defined]
        assert "…" not in output
        words = " ".join(output.split())
        assert "coin as" in words
        assert f"{1000 * mean(found.coins['pair'].costs).value:.4g}" in words
        assert "Floor: if the large model read each text only once" in words
        assert "Break-even length: with " in words


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--speculative", "a/b"], "name both models"),
        (["--speculative", SERVER, "--target", SERVER, "--target-price", "1,2"], "give both prices"),
        (["--target-price", "x", "--speculative-price", "1,2"], "expected PROMPT,COMPLETION"),
        (["--policy", "x:y"], "expected setting=value"),
        (["--check", "vaguely"], "expected math, exact"),
        (["--policy", "small"], "different names"),
        (["--policy", "coin as pair"], "expected a name that does not begin with 'coin as '"),
        (["--variant", "big"], "big: expected NAME=MODEL"),
        (["--variant", "big="], "big=: expected NAME=MODEL"),
        (["--variant", "big=pocket:middle"], "expected pocket:small or pocket:large"),
        (["--variant", "pair=pocket:large"], "different names"),
        (["--variant", "x=pocket:large", "--variant", "x=pocket:large"], "different names, got small, target, pair, x"),
        (["--variant-price", "big=1,2"], "--variant-price big: expected the name of a --variant"),
        (["--variant", "big=pocket:large", "--variant-price", "big=1"], "expected PROMPT,COMPLETION"),
        (["--variant", "big=pocket:large", "--variant-price", "big=1,2"], "give the prices of the pair too"),
        (
            ["--variant", "big=pocket:large", "--target-price", "1,2", "--speculative-price", "0,0"],
            "give its price too, --variant-price big=PROMPT",
        ),
    ],
)
def test_invalid_options_give_a_one_line_error(wrong: list[str], expected: str, tmp_path: Path) -> None:
    result = run(*wrong, "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert expected in " ".join(result.output.split())


def test_errors_are_shown_in_red_at_the_end(tmp_path: Path) -> None:
    options = ["--speculative", SERVER, "--target", SERVER, "--data", str(sums_file(tmp_path, 1))]
    result = run(*options, "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "small: 1 errors, counted as wrong. The same command retries them. First error: " in " ".join(
        result.output.split()
    )

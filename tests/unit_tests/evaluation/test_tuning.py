"""`tune` finds the policy that pays, or says that none does."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import langchain_spec_thinking
from langchain_spec_thinking import Agreement, DelegationPolicy, Price
from langchain_spec_thinking.backends.base import Piece
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.evaluation import Goal, alone, evaluate, tune
from langchain_spec_thinking.evaluation.halving import split
from langchain_spec_thinking.evaluation.policy_lines import parse_policy
from langchain_spec_thinking.evaluation.spending import LARGE_TOKENS, Spending
from langchain_spec_thinking.evaluation.tuning import TuningListener
from langchain_spec_thinking.evaluation.tuning_report import save
from langchain_spec_thinking.evaluation.tuning_words import sentences
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.evaluation.gates import Large, always_right, pair, questions, surely_wrong, unsure

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.evaluation.outcomes import Outcome
    from langchain_spec_thinking.turn import Author, Turn

PRICES: dict[Author, Price] = {"speculative": Price(0, 0), "target": Price(1, 4)}
SUMS = questions()


class Notes(TuningListener):
    """Keeps what it hears. Raises an error after a number of outcomes."""

    def __init__(self, outcomes: float = float("inf")) -> None:
        self.texts: list[str] = []
        self._left = outcomes

    def message(self, text: str) -> None:
        self.texts.append(text)

    def outcome(self, name: str, outcome: Outcome) -> None:
        self._left -= 1
        if self._left < 0:
            raise KilledError


def asked_again(_turn: Turn) -> str:
    return pytest.fail("asked again")


class KilledError(BaseException):
    """Ends the process, as Ctrl-C does."""


def answered(folder: Path) -> Counter[tuple[str, str]]:
    lines = map(json.loads, (folder / "runs.jsonl").read_text(encoding="utf-8").splitlines())
    return Counter((line["variant"], line["id"]) for line in lines)


def test_the_policy_that_pays_is_found_and_can_be_used(tmp_path: Path) -> None:
    notes = Notes()
    found = tune(SUMS, pair(unsure()), tmp_path, prices=PRICES, listener=notes)
    assert found.recommended == "agree-2"
    assert found.pays
    assert found.judgement
    assert found.judgement.difference.low > 0
    assert found.policy == DelegationPolicy.gated(escalation=Agreement(2))
    assert eval(found.python or "", vars(langchain_spec_thinking)) == found.policy  # noqa: S307 - our own text
    assert parse_policy(found.policy_line or "") == ("agree-2", found.policy)
    assert parse_policy(f"x:{tmp_path / 'recommended.json'}")[1] == found.policy
    assert sentences(found)[0] == "Run agree-2: it pays."
    assert any(text.startswith("Left out: ") and "small returns no log-probabilities" in text for text in notes.texts)
    assert len([text for text in notes.texts if "Left out" in text]) == 1


def test_the_questions_that_choose_are_not_those_that_report(tmp_path: Path) -> None:
    found = tune(SUMS, pair(unsure()), tmp_path, prices=PRICES)
    choosing = {outcome.question for outcome in found.choosing.outcomes["target"]}
    reporting = {outcome.question for outcome in found.reporting.outcomes["target"]}
    assert choosing | reporting == {question.id for question in SUMS}
    assert not choosing & reporting
    asked = {question for variant, question in answered(tmp_path) if variant in found.policies}
    assert asked == choosing | reporting
    assert {question for variant, question in answered(tmp_path) if variant == "steps"} <= choosing


@pytest.mark.parametrize(
    ("small", "goal", "recommended", "words"),
    [
        (surely_wrong, Goal(), "target", "Nothing pays here: use the large model alone."),
        (always_right, Goal(), "small", "Nothing pays here: use the small model alone."),
        (surely_wrong, Goal(cost=0.3), "small", "Nothing pays here: use the small model alone."),
        (surely_wrong, Goal(accuracy=0.3), "small", "Nothing pays here: use the small model alone."),
    ],
    ids=["no gate helps", "the small model is as good", "no gate helps at this cost", "the small model is good enough"],
)
def test_if_nothing_pays_it_says_so(small: Any, goal: Goal, recommended: str, words: str, tmp_path: Path) -> None:
    found = tune(SUMS, pair(small), tmp_path, prices=PRICES, goal=goal)
    assert (found.recommended, found.pays, found.policy) == (recommended, False, None)
    assert sentences(found)[0] == words
    assert found.python is None
    assert found.policy_line is None
    save(found)
    assert words in (tmp_path / "tuning.md").read_text(encoding="utf-8")


def test_a_policy_that_chance_explains_does_not_pay(tmp_path: Path) -> None:
    """The best policy is right on four more questions of sixteen than its coin: too few to tell."""
    few = questions(24)
    found = tune(few, pair(unsure()), tmp_path, prices=PRICES, goal=Goal(cost=0.99))
    assert found.chosen
    assert found.chosen.startswith("agree")
    cut = tune(few[:20], pair(unsure()), tmp_path / "fewer", prices=PRICES)
    assert not cut.pays
    assert any("Too few questions for a verdict: 10." in sentence for sentence in sentences(cut))


def test_a_finished_tuning_sends_no_request(tmp_path: Path) -> None:
    first = tune(SUMS, pair(unsure()), tmp_path, prices=PRICES)
    silent = Large()
    silent.script = asked_again
    again = tune(SUMS, pair(asked_again, silent), tmp_path, prices=PRICES)
    assert again == first


def test_a_killed_tuning_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = tune(SUMS, pair(unsure()), tmp_path / "whole", concurrency=1)
    for after in (3, 30, 70, 100, 260):
        with pytest.raises(KilledError):
            tune(SUMS, pair(unsure()), tmp_path / "killed", concurrency=1, listener=Notes(after))
    found = tune(SUMS, pair(unsure()), tmp_path / "killed", concurrency=1)
    assert answered(tmp_path / "killed") == answered(tmp_path / "whole")
    assert set(answered(tmp_path / "killed").values()) == {1}
    assert found.recommended == whole.recommended


@pytest.mark.parametrize("limit", [22_000, 30_000])
def test_no_more_is_spent_than_allowed(limit: int, tmp_path: Path) -> None:
    """The large model writes as many tokens for each question. They are counted where they are written."""
    large = Large()
    found = tune(SUMS, pair(unsure(), large), tmp_path, max_spend=limit, concurrency=4)
    assert found.spent <= limit
    assert large.tokens <= limit
    assert found.recommended in {"agree-2", "target"}
    again = tune(SUMS, pair(unsure(), large), tmp_path, max_spend=limit, concurrency=4)
    assert again.recommended == found.recommended
    assert again.spent == found.spent


def test_a_limit_asks_fewer_questions_and_says_so(tmp_path: Path) -> None:
    notes = Notes()
    found = tune(SUMS, pair(unsure()), tmp_path, max_spend=30_000, listener=notes)
    assert found.choosing.count + found.reporting.count < len(SUMS)
    assert any("questions are asked" in text for text in notes.texts)
    with pytest.raises(ValueError, match=r"max_spend: expected at least about .* tokens of the large model"):
        tune(SUMS, pair(unsure()), tmp_path / "little", max_spend=3_000)


def test_a_limit_that_is_spent_already_is_refused(tmp_path: Path) -> None:
    model = pair(unsure())
    evaluate(questions(200), [alone(model, "target", "earlier")], tmp_path)
    spent = Spending(tmp_path, LARGE_TOKENS).spent
    with pytest.raises(ValueError, match=r"before both models have answered alone: of max_spend=.*are spent"):
        tune(SUMS, model, tmp_path, max_spend=spent)
    assert {variant for variant, _ in answered(tmp_path)} <= {"earlier", "small"}


def test_a_limit_that_ends_the_report_is_named_and_no_failed_question_is_asked_again(tmp_path: Path) -> None:
    """In the report, the large model fails on the first question that it gets, and its second reply is very long."""
    reported = {question.question for question in split(SUMS, 0)[1]}
    asked: Counter[str] = Counter()
    again: list[str] = []

    class Dearer(Large):
        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            question = turn.history[-1].content
            asked[question] += 1
            if question in reported and asked[question] > 1:
                again.append(question)
                if len(again) == 1:
                    raise BackendError("it is gone")
                yield Piece("I add. ", 20_000)
            yield from super().continue_turn(turn, request)

    notes = Notes()
    model = pair(unsure(), Dearer(), on_target_failure="raise")
    found = tune(SUMS, model, tmp_path, max_spend=30_000, concurrency=1, listener=notes)
    assert found.chosen == "agree-2"
    assert [text for text in notes.texts if "ends the report after" in text and "of max_spend=3e+04 tokens of" in text]
    assert found.reporting.count < len(reported)
    assert len(again) == len(set(again)) == 2


def test_it_says_what_it_will_spend_before_the_first_request(tmp_path: Path) -> None:
    class Before(Notes):
        def stage(self, names: Any, count: int) -> None:
            raise KilledError

    notes = Before()
    with pytest.raises(KilledError):
        tune(SUMS, pair(unsure(), max_tokens=500), tmp_path, prices=PRICES, max_spend=2, listener=notes)
    text = " ".join(notes.texts)
    assert f"Both models answer {len(SUMS)} questions alone." in text
    assert "If each of these turns took 500 tokens of both models, all would cost 0." in text
    assert "Not more than 2 is spent." in text


def test_a_model_that_always_fails_ends_the_tuning(tmp_path: Path) -> None:
    def broken(_turn: Turn) -> str:
        msg = "the server is gone"
        raise KeyError(msg)

    with pytest.raises(
        RuntimeError, match=r"target: all of the first 20 questions ended in an error: .*server is gone"
    ):
        tune(SUMS, pair(unsure(), ScriptedBackend(broken, name="large", thinks=True)), tmp_path)


def test_further_policies_are_tried(tmp_path: Path) -> None:
    lenient = DelegationPolicy.gated(escalation=Agreement(5))
    found = tune(questions(32), pair(unsure()), tmp_path, prices=PRICES, policies={"mine": lenient})
    assert found.policies["mine"] == lenient
    with pytest.raises(ValueError, match="agree-2: expected another name"):
        tune(questions(32), pair(unsure()), tmp_path, prices=PRICES, policies={"agree-2": lenient})


def run_command(folder: Path, *options: str) -> Any:
    lines = (json.dumps({"question": q.question, "answer": q.answer}) for q in SUMS)
    (folder / "sums.jsonl").write_text("\n".join(lines), encoding="utf-8")
    module = "tests.unit_tests.evaluation.gates"
    models = ["--speculative", f"{module}:small_model", "--target", f"{module}:Large"]
    return CliRunner().invoke(
        app, ["tune", "--data", str(folder / "sums.jsonl"), *models, "--out", str(folder / "tuning"), *options]
    )


def test_the_command_says_what_to_run(tmp_path: Path) -> None:
    result = run_command(tmp_path, "--speculative-price", "0,0", "--target-price", "1,4")
    assert result.exit_code == 0, result.output
    assert "Run agree-2: it pays." in result.output
    assert "policy = DelegationPolicy.gated()" in result.output
    assert "--policy 'agree-2:trigger=no_takeovers,escalation=agreement'" in result.output
    names = {"tuning.json", "tuning.md", "pareto.png", "runs.jsonl", "settings.json", "recommended.json"}
    assert {file.name for file in (tmp_path / "tuning").iterdir()} == names
    data = json.loads((tmp_path / "tuning" / "tuning.json").read_text(encoding="utf-8"))
    assert data["recommended"] == "agree-2"
    assert data["vs_equal_cost_coin"]["ci95"][0] > 0
    assert data["runs"]["target"]["target_requests"] == 1
    assert 0 < data["vs_target"]["cost_ratio"] < 1


def test_the_command_refuses_two_goals(tmp_path: Path) -> None:
    result = run_command(tmp_path, "--cost", "0.3", "--seconds", "2")
    assert result.exit_code == 1
    assert "expected one of accuracy, cost and seconds, got cost and seconds" in result.output

"""Chat models, routers and agents are compared with a pair."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain_core._api import LangChainBetaWarning
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from typer.testing import CliRunner

from langchain_spec_thinking import Price
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.evaluation import Question, RunnableVariant, Variant, alone, evaluate
from tests.unit_tests.evaluation.sums import HARD, pair, sums, sums_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from langchain_core.runnables import Runnable

    from langchain_spec_thinking.evaluation import Evaluation

SUMS = sums()
USAGE = UsageMetadata(
    input_tokens=30, output_tokens=5, total_tokens=35, input_token_details=InputTokenDetails(cache_read=10)
)
PRICES: dict[Any, Price] = {"speculative": Price(1, 1, 0), "target": Price(10, 10, 0)}


class Adder(BaseChatModel):
    """A chat model that adds, and that fails at large numbers if it is small."""

    name_of_model: str
    usage: bool = True

    @property
    def _llm_type(self) -> str:
        return "adder"

    def _generate(self, messages: list[BaseMessage], *further: Any, **settings: Any) -> ChatResult:
        first, second = map(int, re.findall(r"\d+", str(messages[-1].content)))
        slip = int(self.name_of_model == "small" and first + second >= HARD)
        message = AIMessage(
            f"The answer is \\boxed{{{first + second + slip}}}.",
            usage_metadata=USAGE if self.usage else None,
            response_metadata={"model_name": self.name_of_model},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


SMALL, LARGE = Adder(name_of_model="small"), Adder(name_of_model="large")


def is_hard(question: str) -> bool:
    return int(re.findall(r"\d+", question)[0]) + 1 >= HARD


def route(messages: list[BaseMessage]) -> BaseMessage:
    return (LARGE if is_hard(str(messages[-1].content)) else SMALL).invoke(messages)


@wrap_model_call
def routes(request: Any, handler: Callable[[Any], Any]) -> Any:
    return handler(request.override(model=LARGE if is_hard(str(request.messages[0].content)) else SMALL))


def langchain_router() -> Any:
    """Return an agent with the router of LangChain, which is newer than the lowest version that we test with."""
    router = pytest.importorskip("langchain.agents.middleware.model_router")
    decisions = pytest.importorskip("langchain_core.decisions")

    class Classifier(decisions.BaseDecisionModel):  # type: ignore[name-defined, misc]
        _provider = "test"

        def _classify(self, state: Any, questions: dict[str, Any]) -> Any:
            choice = "large" if is_hard(str(state.content)) else "small"
            answer = {"type": "choice", "choice": choice, "probabilities": {choice: 1.0}, "confidence": 1.0}
            return decisions.ClassifierResponse(model=self.model, answers=dict.fromkeys(questions, answer))

    choices = {"small": router.ModelChoice(SMALL, "easy"), "large": router.ModelChoice(LARGE, "hard")}
    with pytest.warns(LangChainBetaWarning):
        middleware = router.ModelRouterMiddleware(
            choices=choices, instructions="Choose.", classifier=Classifier(model="classifier")
        )
    return create_agent(LARGE, middleware=[middleware])


ROUTERS = [
    pytest.param(lambda: RunnableLambda(route), id="function"),
    pytest.param(lambda: create_agent(LARGE, middleware=[routes]), id="agent"),
    pytest.param(langchain_router, id="LangChain's ModelRouterMiddleware"),
]


def run(variant: RunnableVariant, folder: Path, questions: list[Question] = SUMS) -> Evaluation:
    model = pair()
    sides = [alone(model, "speculative", "small"), alone(model, "target", "target"), Variant("pair", model)]
    return replace(evaluate(questions, [*sides, variant], folder, concurrency=4), prices=PRICES)


@pytest.mark.parametrize("make", ROUTERS)
def test_a_router_is_compared_like_a_pair(make: Callable[[], Runnable[Any, Any]], tmp_path: Path) -> None:
    found = run(RunnableVariant("router", make(), small="small"), tmp_path)
    hard = sum(is_hard(question.question) for question in SUMS)
    figures = found.figures["router"]
    assert (figures.errors, figures.accuracy.value) == (0, 1)
    assert found.pairs == ["pair", "router"]
    assert figures.target_share.value == hard / len(SUMS)
    assert [outcome.escalated for outcome in figures.outcomes] == [is_hard(question.question) for question in SUMS]
    costs = [(25 * (10 if is_hard(question.question) else 1)) / 1e6 for question in SUMS]
    assert figures.costs == pytest.approx(costs)
    assert figures.takeovers == 0
    assert ("router", "pair") in found.tests


@pytest.mark.parametrize(
    "runnable", [pytest.param(LARGE, id="chat model"), pytest.param(create_agent(LARGE), id="agent")]
)
def test_without_a_small_model_it_is_a_further_model(runnable: Any, tmp_path: Path) -> None:
    found = replace(run(RunnableVariant("other", runnable), tmp_path), further_prices={"other": Price(100, 100)})
    assert found.further == ["other"]
    assert found.figures["other"].tokens("target") == 5
    assert found.figures["other"].costs == pytest.approx([35 * 100 / 1e6] * len(SUMS))


def test_calls_of_both_models_are_counted_and_the_last_one_answers(tmp_path: Path) -> None:
    """A cascade asks the small model first, and then the large one."""
    cascade: RunnableLambda[Any, Any] = RunnableLambda(
        lambda messages: [SMALL.invoke(messages), LARGE.invoke(messages)][-1]
    )
    found = run(RunnableVariant("cascade", cascade, small=("tiny", "small")), tmp_path, SUMS[:1])
    [outcome] = found.figures["cascade"].outcomes
    assert outcome.tokens == {"speculative": 0, "target": 5}
    assert {side: (used.requests, used.discarded_tokens) for side, used in outcome.usage.items()} == {
        "speculative": (1, 5),
        "target": (1, 0),
    }


def test_a_pair_inside_a_runnable_is_counted_by_its_models(tmp_path: Path) -> None:
    inner = pair()
    found = run(RunnableVariant("inner", RunnableLambda(inner.invoke), small="small"), tmp_path)
    assert [o.usage for o in found.figures["inner"].outcomes] == [o.usage for o in found.figures["pair"].outcomes]


def test_missing_usage_is_estimated(tmp_path: Path) -> None:
    model = Adder(name_of_model="large", usage=False)
    found = run(RunnableVariant("other", model), tmp_path, SUMS[:1])
    [outcome] = found.figures["other"].outcomes
    assert 5 < outcome.usage["target"].prompt_tokens < 20
    assert 5 < outcome.usage["target"].completion_tokens < 20


@pytest.mark.parametrize(
    ("runnable", "expected"),
    [
        (RunnableLambda(lambda _: "5"), "other: expected a message of a model, or a state .*, got str"),
        (RunnableLambda(lambda _: {"messages": []}), "other: expected a message of a model, .* got dict"),
        (RunnableLambda(lambda messages: messages[0]), "other: expected a message of a model, .* got HumanMessage"),
        (RunnableLambda(lambda _: 1 / 0), "other: ZeroDivisionError: division by zero"),
        (GenericFakeChatModel(messages=iter([])), "other: .*"),
    ],
)
def test_a_runnable_that_fails_is_an_error_of_its_question(runnable: Any, expected: str, tmp_path: Path) -> None:
    found = run(RunnableVariant("other", runnable), tmp_path, SUMS[:1])
    [outcome] = found.figures["other"].outcomes
    assert re.fullmatch(f"BackendError: {expected}", outcome.error or "")


def test_answers_are_stored_and_not_asked_for_again(tmp_path: Path) -> None:
    asked: list[object] = []

    def answer(messages: list[BaseMessage]) -> BaseMessage:
        asked.append(messages)
        return LARGE.invoke(messages)

    variant = RunnableVariant("other", RunnableLambda(answer))
    first, second = (run(variant, tmp_path, SUMS[:3]) for _ in range(2))
    assert len(asked) == 3
    assert first.outcomes == second.outcomes
    with pytest.raises(ValueError, match=r"other: its answers in .* were given with other settings"):
        run(replace(variant, small="small"), tmp_path, SUMS[:3])


MODULE = """
from langchain_core.runnables import RunnableLambda
from langchain_spec_thinking.evaluation import RunnableVariant
from tests.unit_tests.evaluation.sums import pair
from tests.unit_tests.evaluation.test_runnables import LARGE, route

small, large = pair().speculative, pair().target
runnable = RunnableLambda(route)
chat_model = LARGE
variant = RunnableVariant("name that the option replaces", runnable, small="small")
made = 0


def maker():
    global made
    made += 1
    return runnable


number = 3
"""


@pytest.fixture
def _own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "models_of_variants.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("models_of_variants", None)


def command(folder: Path, *options: str) -> Any:
    sides = ["--speculative", "models_of_variants:small", "--target", "models_of_variants:large"]
    data = ["--data", str(sums_file(folder, 3)), "--check", "exact", "--out", str(folder / "out")]
    return CliRunner().invoke(app, ["evaluate", *sides, *data, *options], terminal_width=200)


@pytest.mark.usefixtures("_own_module")
@pytest.mark.parametrize("name", ["runnable", "chat_model", "variant", "maker"])
def test_the_command_line_names_a_runnable_by_its_module(name: str, tmp_path: Path) -> None:
    result = command(tmp_path, "--variant", f"other=models_of_variants:{name}")
    assert result.exit_code == 0, result.output
    assert re.search(r"^other +100.0%", result.output, re.MULTILINE)
    assert "errors" not in result.output
    assert sys.modules["models_of_variants"].made == (name == "maker")  # it is called once


@pytest.mark.usefixtures("_own_module")
def test_a_router_has_the_prices_of_the_pair_and_a_further_model_its_own(tmp_path: Path) -> None:
    prices = ["--speculative-price", "0,0", "--target-price", "1,4"]
    router = command(tmp_path, *prices, "--variant", "other=models_of_variants:variant")
    assert router.exit_code == 0, router.output
    further = command(tmp_path, *prices, "--variant", "third=models_of_variants:runnable")
    assert further.exit_code == 1
    assert "give its price too, --variant-price third=" in " ".join(further.output.split())


@pytest.mark.usefixtures("_own_module")
def test_another_object_is_refused(tmp_path: Path) -> None:
    result = command(tmp_path, "--variant", "other=models_of_variants:number")
    assert result.exit_code == 1
    assert "expected a Backend, a LangChain chat model, another Runnable or a RunnableVariant" in " ".join(
        result.output.split()
    )

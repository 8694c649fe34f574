"""The questions, the answers and the agent of the general pair."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from benchmarks.pays import agents
from benchmarks.pays.agent_tasks import EXAMPLES, TASKS, Answer, Shop, Task
from benchmarks.pays.agents import agent_figures, run_agents
from benchmarks.pays.answers import is_right
from benchmarks.pays.documents import MEASURED
from benchmarks.pays.general import CHOOSING, POLICIES, REPORTED, run_general
from benchmarks.pays.questions import KINDS, LEVELS, general_questions
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.jsonl import read_lines
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking.turn import Turn

CHOSEN = general_questions(*CHOOSING)
QUESTIONS = general_questions(*REPORTED, CHOSEN)
ANSWERS = {question.question: question.answer.split("|")[0] for question in QUESTIONS}


def test_every_kind_and_level_has_the_same_number_of_questions() -> None:
    places = [question.id.rsplit(" ", 1)[0] for question in QUESTIONS]
    assert {places.count(f"{kind} {level}") for kind in KINDS for level in range(LEVELS)} == {REPORTED[0]}


def test_the_questions_are_repeatable() -> None:
    assert general_questions(*CHOOSING) == CHOSEN
    assert [one.question for one in general_questions(1, 1)] != [one.question for one in general_questions(1, 2)]


def test_no_question_occurs_twice_or_in_both_parts() -> None:
    texts = [question.question for question in (*CHOSEN, *QUESTIONS)]
    assert len(set(texts)) == len(texts)


def test_the_right_answer_is_right_in_every_form() -> None:
    for question in (*CHOSEN, *QUESTIONS):
        for answer in question.answer.split("|"):
            for form in ("{}", "A reason.\nAnswer: {}", "A reason.\n\n**Answer:** {}.", "Answer: **{}**"):
                assert is_right(form.format(answer), question.answer), (question, form)


@pytest.mark.parametrize(
    ("answer", "right", "expected"),
    [
        pytest.param("Answer: 1,200 litres", "1200", True, id="a unit and a comma change nothing"),
        pytest.param("Answer: 4 * 3 = 12", "12", True, id="the result of a sum counts"),
        pytest.param("Answer: 12.0", "12", True, id="numbers are compared by value"),
        pytest.param("It is 12.\nAnswer: 13", "12", False, id="only the stated answer counts"),
        pytest.param("Answer: 5\nAnswer: 6", "6", True, id="the last answer counts"),
        pytest.param("Answer: 6/8", "3/4", True, id="equal fractions are equal"),
        pytest.param("Answer: 3, 1, 2", "1, 2, 3", False, id="the order of numbers counts"),
        pytest.param("Answer: [1, 2, 3]", "1, 2, 3", True, id="brackets around a list change nothing"),
        pytest.param("Answer: B", "B) Rome", True, id="a letter alone is an option"),
        pytest.param("Answer: Rome", "B) Rome", True, id="the text of an option counts"),
        pytest.param("Answer: C) Rome", "B) Rome", False, id="the letter decides"),
        pytest.param("Answer: Yes, it is.", "yes", True, id="a reason may follow yes"),
        pytest.param("Answer: no", "yes", False, id="no is not yes"),
        pytest.param("Answer: der Hund", "Hund", True, id="an article changes nothing"),
        pytest.param("Answer: Hunde", "Hund", False, id="another word is wrong"),
        pytest.param("Answer: March 15", "March 5", False, id="another date is wrong"),
        pytest.param("There are 240 minutes in 4 hours.", "240", True, id="the number of a sentence is its result"),
        pytest.param("2 hours are 134 minutes.", "2", False, id="a number of the question is no result"),
        pytest.param("Answer: 1/2 is larger than 5/9.", "5/9", False, id="a comparison names its result first"),
        pytest.param("Answer: 5/9 is larger than 1/2.", "5/9", True, id="a right comparison is right"),
        pytest.param("So it is 9. The result is 13.", "13", True, id="the last sentence counts"),
        pytest.param("The capital of Hungary is Budapest.", "Budapest", True, id="a sentence may end with the answer"),
        pytest.param("Budapest is the capital.", "Budapest", True, id="a sentence may begin with the answer"),
        pytest.param("It is not Rome but Paris.", "Rome", False, id="a word inside a sentence is no answer"),
        pytest.param("Answer: \\boxed{12}", "12", True, id="a box changes nothing"),
        pytest.param("", "5", False, id="no answer is wrong"),
        pytest.param("Answer: 1/0", "5", False, id="no number is wrong"),
    ],
)
def test_an_answer_is_compared_by_the_form_of_the_right_one(answer: str, right: str, *, expected: bool) -> None:
    assert is_right(answer, right) is expected


def test_a_rule_lets_the_large_model_answer_what_the_small_one_does_not_know(tmp_path: Path) -> None:
    def small(turn: Turn) -> str:
        question = turn.history[-1].content
        known = question in ANSWERS and len(question) % 2 == 0
        # If the small model does not know, each of its answers is another one, and it is not sure of one token.
        return f"Answer: {ANSWERS[question]}" if known else f"Guess {len(small_model.requests)}"

    small_model = ScriptedBackend(small, logprobs=lambda token: (-2.0,) if "Guess" in token else (-0.1,))
    large_model = ScriptedBackend(lambda turn: f"Answer: {ANSWERS[turn.history[-1].content]}")
    pair = ChatSpeculativeThinking(speculative=small_model, target=large_model, temperature=0)
    found = run_general(pair, tmp_path)
    known = sum(len(question) % 2 == 0 for question in ANSWERS) / len(ANSWERS)
    assert found["n"] == len(QUESTIONS)
    assert found["runs"]["large"]["accuracy"] == 1
    assert {run["seconds"] for run in found["runs"].values()} == {None}
    for name in POLICIES:
        assert found["runs"][name]["accuracy"] == 1
        assert found["runs"][name]["target_requests"] == pytest.approx(1 - known)
    assert found["vs_equal_cost_coin"]["ci95"][0] > 0


def test_the_tools_of_the_shop_change_its_state() -> None:
    shop = Shop()
    get_price, get_stock, place_order = shop.tools()
    assert get_price("pen", 3) == "3 pen cost 7.5 euros."
    assert get_stock("lamp") == "The shop has 7 lamp."
    assert place_order("lamp", 5) == "Ordered: 5 lamp."
    assert place_order("lamp", 3) == "Not ordered: the shop has only 2 lamp."
    assert place_order("cup", 0) == "Not ordered: the shop has only 12 cup."
    assert get_stock("lamp") == "The shop has 2 lamp."
    assert shop.ordered == {"lamp": 5}


@pytest.mark.parametrize(
    ("ordered", "number", "expected"),
    [
        pytest.param({"cup": 2}, 12, True, id="orders and number are right"),
        pytest.param({"cup": 2}, 6, False, id="the number is wrong"),
        pytest.param({"cup": 2}, None, False, id="there is no answer"),
        pytest.param({}, 12, False, id="nothing is ordered"),
        pytest.param({"cup": 2, "pen": 1}, 12, False, id="too much is ordered"),
    ],
)
def test_a_task_succeeds_if_orders_and_number_are_right(
    ordered: dict[str, int], number: float | None, *, expected: bool
) -> None:
    answer = None if number is None else Answer(number=number)
    assert Task("Order 2 cups.", {"cup": 2}, 12).succeeded(Shop(ordered), answer) is expected


def test_a_task_without_a_number_allows_any_number() -> None:
    assert Task("Order 2 cups.", {"cup": 2}).succeeded(Shop({"cup": 2}), Answer(number=99))


def test_the_results_in_the_examples_are_those_of_the_shop() -> None:
    tools = {tool.__name__: tool for tool in Shop().tools()}
    calls = [call for message in EXAMPLES if isinstance(message, AIMessage) for call in message.tool_calls]
    results = [message.text for message in EXAMPLES if isinstance(message, ToolMessage)]
    for call, result in zip(calls, results, strict=True):
        expected = "Answered." if call["name"] == "Answer" else tools[call["name"]](**call["args"])
        assert result == expected


def call(name: str, **arguments: str | float) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


def solution(turn: Turn) -> str:
    """Do the task that a turn belongs to: order everything, one item after the other, then answer the number."""
    wish = max(at for at, message in enumerate(turn.history) if message.role == "user")
    task = next(task for task in TASKS if task.wish == turn.history[wish].content)
    done = sum(message.role == "tool" for message in turn.history[wish:])
    if done < len(task.ordered):
        item, quantity = list(task.ordered.items())[done]
        return call("place_order", item=item, quantity=quantity)
    return call("Answer", number=task.number or 0)


def test_an_agent_whose_large_model_knows_every_task_succeeds_with_gated_calls(tmp_path: Path) -> None:
    wrong = ScriptedBackend(lambda _: call("Answer", number=len(wrong.requests) * 1000))  # no two answers are alike
    pair = ChatSpeculativeThinking(speculative=wrong, target=ScriptedBackend(solution), temperature=0)
    found = run_agents(pair, tmp_path)
    assert {name: run["success"] for name, run in found["runs"].items()} == {"small": 0, "large": 1, "gated": 1}
    assert found["runs"]["small"]["target_requests"] == 0
    assert found["runs"]["gated"]["target_requests"] == found["runs"]["large"]["target_requests"]


def test_calls_on_which_the_small_model_agrees_need_no_large_model(tmp_path: Path) -> None:
    pair = ChatSpeculativeThinking(speculative=ScriptedBackend(solution), target=ScriptedBackend(""), temperature=0)
    found = run_agents(pair, tmp_path)
    assert found["runs"]["gated"]["success"] == 1
    assert found["runs"]["gated"]["target_requests"] == 0


def test_a_task_that_is_done_does_not_run_again(tmp_path: Path) -> None:
    small = ScriptedBackend(solution)
    pair = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend(solution), temperature=0)
    first = run_agents(pair, tmp_path)
    requests = len(small.requests)
    assert run_agents(pair, tmp_path) == first
    assert len(small.requests) == requests


def test_the_kept_figures_are_those_of_the_kept_answers() -> None:
    lines = [line for _, line in read_lines(agents.KEPT)]
    assert {(line["task"], line["wish"]) for line in lines} == {(n, task.wish) for n, task in enumerate(TASKS)}
    models = {name: [line for line in lines if line["model"] == name] for name in ("small", "large", "gated")}
    assert agent_figures(models) == json.loads(MEASURED.read_text(encoding="utf-8"))["agents"]

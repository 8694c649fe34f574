"""Data sets, checks, and policies in a line."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking import AnyOf, CueTrigger, DelegationPolicy, Lexicon, RandomTrigger, TargetLeads, pocket
from langchain_spec_thinking.evaluation import Question, check_of, load_questions
from langchain_spec_thinking.evaluation.checks import require_checkable
from langchain_spec_thinking.evaluation.policy_lines import format_policy, parse_policy, save_policy
from langchain_spec_thinking.policy.triggers import TRIGGERS

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '{"question": "2 + 3?", "answer": 5}'


def test_questions_come_from_lines(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    more = ['{"problem": "x", "solution": "long\\n#### 7", "level": 3}', "", GOOD]
    file.write_text("\n".join([GOOD, *more]), encoding="utf-8")
    first, second, third = load_questions(str(file))
    assert (first.question, first.answer) == ("2 + 3?", "5")
    assert (second.question, second.answer) == ("x", "7")
    assert third.id == f"{first.id}-2"
    assert load_questions(str(file), 1) == [first]


def test_an_id_depends_on_the_question_only(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(f'{{"question": "y", "answer": 1}}\n{GOOD}\n', encoding="utf-8")
    later = load_questions(str(file))[1]
    file.write_text(GOOD, encoding="utf-8")
    assert load_questions(str(file))[0] == later


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "line 2: expected a JSON object, got '{'"),
        ("[1, 2]", "line 2: expected a JSON object"),
        ('{"question": "x"}', "line 2: expected 'answer' with a text or a number, got None; the columns are question"),
        ('{"question": 3, "answer": null}', "line 2: expected 'answer'"),
        ('{"question": "x", "answer": true}', "line 2: expected 'answer'"),
        ('{"question": " ", "answer": 1}', "line 2: expected 'question'"),
        ("{}", "the columns are none"),
        ("x" * 500, "line 2: .*x\\.\\.\\.'"),
    ],
)
def test_an_error_names_the_bad_line(line: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(f"{GOOD}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=expected):
        load_questions(str(file))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="at least one question"):
        load_questions(str(file))


def test_the_problems_of_the_package() -> None:
    questions = load_questions("pocket")
    assert [q.question for q in questions] == [p.question for p in pocket.problems(pocket.PROBLEMS)]
    assert len({question.id for question in questions}) >= 200
    assert load_questions("pocket:3") == questions[:3]
    for wrong in ("pocket:0", "pocket:201", "pocket:x", "pocket:²"):
        with pytest.raises(ValueError, match="N from 1 to 200"):
            load_questions(wrong)


def test_a_data_set_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder loads in the same way as a data set of the Hub."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.jsonl").write_text('{"question": "2 + 3?", "answer": "5"}\n', encoding="utf-8")
    (tmp_path / "data" / "train.jsonl").write_text('{"question": "x", "answer": ""}\n', encoding="utf-8")
    assert load_questions(f"hf:{tmp_path}/data")[0].answer == "5"
    with pytest.raises(ValueError, match="row 1: expected 'answer'"):
        load_questions(f"hf:{tmp_path}/data:train")


ANSWERS = [
    ("math", "so \\boxed{42}.", "42", True),
    ("math", "First 7, then it is 42", "42", True),
    ("math", "\\boxed{7}, not 42", "42", False),
    ("math", "It is $\\frac{1}{2}$.", "0.5", True),
    ("math", "\\boxed{1,234}", "1234", True),
    ("math", "\\boxed{x+1}", "1+x", True),
    ("math", "", "42", False),
    ("math", "no idea", "42", False),
    ("exact", "  Paris\n", "paris", True),
    ("exact", "I say \\boxed{Paris \\text{(France)}}", "Paris \\text{(France)}", True),
    ("exact", "Paris, I think", "Paris", False),
    ("exact", "\\boxed{Paris", "Paris", False),
]


@pytest.mark.parametrize(("check", "answer", "right", "is_right"), ANSWERS)
def test_answers_are_checked(check: str, answer: str, right: str, *, is_right: bool) -> None:
    assert check_of(check)(answer, right) is is_right


def test_math_is_checked_in_a_thread_too() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(check_of("math")("\\boxed{42}", "42")))
    thread.start()
    thread.join()
    assert found == [True]


def test_a_custom_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_check.py").write_text("def starts(answer, right): return answer.startswith(right)\nn = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", str(tmp_path)])
    check = check_of("my_own_check:starts")
    assert check("yes, it is", "yes")
    assert not check("no", "yes")
    for wrong, expected in {
        "my_own_check:ends": "has no attribute 'ends'",
        "my_own_check:n": "expected a function",
        "nowhere:x": "No module named 'nowhere'",
        "roughly": "expected math, exact or module:function",
    }.items():
        with pytest.raises(ValueError, match=expected):
            check_of(wrong)


def test_right_answers_that_math_cannot_read_are_refused() -> None:
    question = Question("q", "Which?", "")
    with pytest.raises(ValueError, match="math-verify cannot read the answer"):
        require_checkable([question], check_of("math"))
    require_checkable([question], check_of("exact"))


LINES = {
    "pair": DelegationPolicy(),
    "pair:": DelegationPolicy(),
    "long:takeover_tokens=40": DelegationPolicy(takeover_tokens=40),
    "step:takeover_tokens=None": DelegationPolicy(takeover_tokens=None),
    "coin:trigger=random,probability=0.2,takeover_tokens=40": DelegationPolicy(RandomTrigger(0.2), 40),
    "led:trigger=target_leads,cues=let me|wait": DelegationPolicy(TargetLeads(("let me", "wait"))),
    "mine:affirmation=,reflection=hmm|so the": DelegationPolicy(CueTrigger(Lexicon((), ("hmm", "so the")))),
    "lines:boundary=\\n,recap_sentence=Wait:\\t": DelegationPolicy(boundary="\n", recap_sentence="Wait:\t"),
    "loose:substrings=true,boundary=;": DelegationPolicy(CueTrigger(Lexicon(substrings=True)), boundary=";"),
    "plain:mode=non_reasoning,opening_tokens=50": DelegationPolicy.non_reasoning(opening_tokens=50),
}


@pytest.mark.parametrize(("line", "policy"), LINES.items())
def test_policies_are_read_from_lines(line: str, policy: DelegationPolicy) -> None:
    assert parse_policy(line) == (line.partition(":")[0], policy)


@pytest.mark.parametrize("policy", LINES.values())
def test_formatted_policies_are_read_back_unchanged(policy: DelegationPolicy, tmp_path: Path) -> None:
    if not policy.takeover_every_boundary:
        assert parse_policy(format_policy("x", policy)) == ("x", policy)
    save_policy(policy, tmp_path / "deep" / "policy.json")
    assert parse_policy(f"x:{tmp_path}/deep/policy.json") == ("x", policy)


@pytest.mark.parametrize(
    "policy",
    [
        DelegationPolicy(recap_sentence="So, let me see:"),
        DelegationPolicy(recap_sentence="a=b,c"),
        DelegationPolicy(AnyOf(CueTrigger(), RandomTrigger(0.5))),
    ],
)
def test_a_policy_that_does_not_fit_in_a_line_is_refused(policy: DelegationPolicy) -> None:
    with pytest.raises(ValueError, match=r"x: this policy does not fit in a line\. Save it as JSON"):
        format_policy("x", policy)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "expected NAME"),
        (":takeover_tokens=4", "expected NAME"),
        ("x:takeover", "expected setting=value, got 'takeover'"),
        ("x:takeover=3", "takeover: no such setting; expected one of affirmation"),
        ("x:takeover_tokens=0", "takeover_tokens: expected a whole number"),
        ("x:trigger=guess", "guess: expected one of cue"),
        ("x:trigger=random", "random: .*probability"),
        ("x:takeover_every_boundary=no", "takeover_every_boundary: expected True or False, got 'no'"),
        ("x:substrings=no", "substrings: expected True or False, got 'no'"),
        ("x:mode=non_reasoning,trigger=first_token_entropy", "with mode=non_reasoning, leave out trigger"),
        ("x:probability=0.2", "probability: no such setting"),
        ("x:mode=slow", "mode: expected one of reasoning, non_reasoning, gated, paper"),
        ("x:lexicon=3", "lexicon: no such setting"),
        ("x:budget=3", "budget: no such setting"),
    ],
)
def test_invalid_policy_lines_are_refused(line: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_policy(line)


def test_a_file_without_a_policy_is_refused(tmp_path: Path) -> None:
    for data in ("[", '{"takeover": 1}', "[1]"):
        (tmp_path / "p.json").write_text(data, encoding="utf-8")
        with pytest.raises(ValueError, match=r"p\.json"):
            parse_policy(f"x:{tmp_path}/p.json")


def test_every_trigger_has_a_short_name() -> None:
    assert {"cue": CueTrigger, "random": RandomTrigger}.items() <= TRIGGERS.items()


@given(st.text(max_size=30))
def test_any_line_is_read_or_refused(line: str) -> None:
    try:
        name, policy = parse_policy(line)
    except (ValueError, OSError):
        return
    assert name
    assert isinstance(policy, DelegationPolicy)


def test_saved_policies_are_json(tmp_path: Path) -> None:
    save_policy(DelegationPolicy(), tmp_path / "p.json")
    data: dict[str, Any] = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert data["trigger"]["type"] == "CueTrigger"

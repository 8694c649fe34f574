"""`spec-thinking chat`: the pocket pair by default, a key for each side, and each error once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from langchain_spec_thinking import pocket
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.failures import held_log
from langchain_spec_thinking.cli.models import backend
from tests.unit_tests.library_output import collect_output
from tests.unit_tests.test_cli import key_of

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "openai:n@http://127.0.0.1:9/v1"
"""A port that nothing listens on."""
MODULE = """
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend


class Silent(ScriptedBackend):
    def __init__(self, name="silent"):
        super().__init__("", name=name)

    def continue_turn(self, turn, request):
        raise BackendError(f"{self.name}: the cable is out")
        yield


class Rude(Silent):
    def __init__(self):
        super().__init__("\\x1b[2Jrude \\x1b]0;title\\x07")


class Lost(Silent):
    def __init__(self):
        super().__init__("lost in this chat")


def small():
    return ScriptedBackend("<think>I add.\\n\\nWait, no.\\n\\nSo 5.\\n</think>\\n\\nIt is 5.", name="small")
"""


@pytest.fixture
def _own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models_of_chat.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)


def run(*arguments: str, typed: str = "") -> Any:
    return CliRunner().invoke(app, arguments, input=typed, terminal_width=200)


def words(text: str) -> str:
    return " ".join(text.split())


def test_without_options_the_pocket_pair_answers() -> None:
    problem = pocket.problems()[2]
    with collect_output() as output:
        result = run("chat", typed=f"{problem.question}\n\n")
    assert result.exit_code == 0, result.output
    assert (output, result.stderr) == ([], "")
    assert "The pocket pair" in result.output
    assert "reasoning mode" in result.output
    assert f"\\boxed{{{problem.answer}}}" in result.output  # greedy by default, so it is right every time


def test_one_model_alone_is_refused() -> None:
    result = run("chat", "--speculative", SERVER)
    assert result.exit_code == 1
    assert "name both models, --speculative and --target, or neither" in words(result.output)


@pytest.mark.parametrize("side", ["speculative", "target"])
def test_a_variable_may_hold_the_key_of_a_side(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-mine")
    monkeypatch.setenv(f"{side.upper()}_API_KEY", "sk-other")
    assert key_of(backend(SERVER, side, "MY_KEY")) == "sk-mine"


@pytest.mark.parametrize("command", ["chat", "doctor", "evaluate", "tune", "calibrate"])
@pytest.mark.parametrize("side", ["speculative", "target"])
def test_a_key_that_is_not_found_is_refused_and_not_shown(
    command: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    further = {"calibrate": ["--target-share", "0.5"]}.get(command, [])
    result = run(command, "--speculative", SERVER, "--target", SERVER, f"--{side}-key-env", "sk_secret", *further)
    assert result.exit_code == 1
    assert f"--{side}-key-env: expected the name of an environment variable" in words(result.output)
    assert "sk_secret" not in result.output


@pytest.mark.parametrize("spec", ["pocket:large", "anthropic:claude", "models_of_chat:Silent"])
def test_a_model_that_takes_no_key_refuses_one(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-mine")
    with pytest.raises(ValueError, match=f"--target-key-env: expected a model openai:NAME@URL, .* got {spec}"):
        backend(spec, "target", "MY_KEY")


@pytest.mark.usefixtures("_own_module")
@pytest.mark.parametrize(
    ("small", "large", "error"),
    [
        pytest.param("models_of_chat:Silent", "models_of_chat:small", "silent: the cable is out", id="small"),
        pytest.param("models_of_chat:small", "models_of_chat:Lost", "lost in this chat: the cable is out", id="large"),
    ],
)
def test_a_failed_model_is_reported_once(small: str, large: str, error: str, caplog: pytest.LogCaptureFixture) -> None:
    options = ["--speculative", small, "--target", large, "--policy", "x:opening_tokens=5"]
    result = run("chat", *options, typed="2 + 3?\n\n")
    assert result.exit_code == 0, result.output
    assert words(result.output).count(error) == 1
    assert caplog.messages == []  # nothing is left for Python's own handler, which prints to the terminal


@pytest.mark.usefixtures("_own_module")
def test_the_words_of_a_server_do_not_control_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"question": "2 + 3?", "answer": 5}\n', encoding="utf-8")
    small, large = ["--speculative", "models_of_chat:Rude"], ["--target", "models_of_chat:small"]
    evaluated = ["--data", str(tmp_path / "data.jsonl"), "--out", str(tmp_path / "out")]
    for arguments, typed in (
        (["chat", *small, *large, "--policy", "pair"], "2 + 3?\n\n"),
        (["evaluate", *small, *large, *evaluated], ""),
        (["doctor", *small], ""),
    ):
        output = run(*arguments, typed=typed).output
        assert "rude" in output
        assert not {"\x1b", "\x07"} & set(output)


@pytest.mark.usefixtures("_own_module")
def test_a_doctor_reports_an_error_once() -> None:
    result = run("doctor", "--target", "models_of_chat:Silent")
    assert result.exit_code == 1
    assert words(result.output).count("silent: the cable is out") == 1


@pytest.mark.usefixtures("_own_module")
def test_an_evaluation_reports_an_error_of_several_models_once(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"question": "2 + 3?", "answer": 5}\n', encoding="utf-8")
    both = ["--speculative", "models_of_chat:Silent", "--target", "models_of_chat:Silent"]
    options = [*both, "--data", str(tmp_path / "data.jsonl")]
    result = run("evaluate", *options, "--out", str(tmp_path / "out"))
    end = words(result.output).split("small: 1 errors, counted as wrong.")[1]
    assert end.count("silent: the cable is out") == 1
    assert "target: 1 errors, counted as wrong. The first error is that of small." in end


def test_a_wrong_setting_gives_one_line() -> None:
    result = run("chat", "--speculative", SERVER, "--target", SERVER, "--policy", "pair", "--answer-by", "me")
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("answer_by: ")
    assert line.endswith("'speculative' or 'target'")


def test_a_held_warning_is_printed_unless_its_text_was(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("langchain_spec_thinking.anything")
    with held_log() as log:
        for text in ("slow: the server is busy. Wait.", "large: a limit is ignored."):
            logger.warning("%s", text)
        log.print_rest(["the server is busy"])
        assert words(capsys.readouterr().out) == "large: a limit is ignored."
        logger.warning("after that")
    assert words(capsys.readouterr().out) == "after that"
    assert capsys.readouterr().err == ""

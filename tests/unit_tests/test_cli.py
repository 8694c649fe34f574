"""The commands, as far as they need no model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from langchain_core.messages import HumanMessage
from rich.console import Console
from typer.testing import CliRunner

from langchain_spec_thinking import ChatSpeculativeThinking, Trace, pocket
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.demo import MEASURED
from langchain_spec_thinking.cli.models import backend
from langchain_spec_thinking.cli.view import show, show_again, table
from langchain_spec_thinking.report import Report
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.library_output import collect_output
from tests.unit_tests.test_chat_models import pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking import Backend


def test_a_turn_is_shown_with_a_colour_for_each_author() -> None:
    console = Console(file=StringIO(), force_terminal=True, color_system="standard", width=200)
    run = show(console, pair(), [HumanMessage("2 + 3?")])
    console.print(table(run.report))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[36mI\x1b[0m\x1b[36m add\x1b[0m" in shown
    assert "\x1b[1;33mHm,\x1b[0m" in shown
    assert "[target]" not in shown  # the colours say who wrote what
    assert "1 takeovers, 29% of the tokens by the large model" in shown
    assert "1 reflection (wait)" in shown


def test_authors_are_named_if_there_are_no_colours() -> None:
    for colours in ({}, {"force_terminal": True, "no_color": True}):
        console = Console(file=StringIO(), width=200, **colours)  # type: ignore[arg-type]
        show(console, pair(), [HumanMessage("2 + 3?")])
        shown = re.sub("\x1b\\[[0-9;]*m", "", console.file.getvalue())  # type: ignore[attr-defined]
        assert shown == (
            "thinking\n[speculative] I add 2 and 3.\n\n[target] Hm, two and three make five indeed. "
            "[speculative] So it is 5.\n\n\nanswer\n[speculative] It is 5, STOP, I say.\n"
        )


def test_an_author_is_named_after_its_tool_call() -> None:
    script = '<tool_call>{"name": "add", "arguments": {}}</tool_call> So it is 5.'
    model = ChatSpeculativeThinking(speculative=ScriptedBackend(script), target=ScriptedBackend(""))
    message = model.bind_tools([{"name": "add", "description": "Add.", "parameters": {}}]).invoke("2 + 3?")
    console = Console(file=StringIO(), width=200)
    show_again(console, Trace.of(message))
    assert "[speculative] So it is 5." in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_says_what_did_not_work() -> None:
    console = Console(file=StringIO(), width=100)
    console.print(table(Report(degraded=["large ignored [the limit]", "the budget is spent"])))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "large ignored [the limit]" in shown
    assert "the budget is spent" in shown


def test_markup_in_text_is_shown_literally() -> None:
    console = Console(file=StringIO(), width=200)
    show(console, pair(speculative=ScriptedBackend("[bold]x[/bold] [/]")), [HumanMessage("x")])
    assert console.file.getvalue() == "[speculative] [bold]x[/bold] [/]\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wrong", [["openai:name", "openai:name"], ["openai:n@http://h/v1"] * 2 + ["--answer-by", "me"]]
)
def test_invalid_options_give_a_one_line_error(wrong: list[str]) -> None:
    small, large, *more = wrong
    result = CliRunner().invoke(app, ["chat", "--speculative", small, "--target", large, *more])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "openai:NAME@URL" in result.output or "answer_by" in result.output


def test_markup_in_an_error_is_shown_literally() -> None:
    result = CliRunner().invoke(app, ["chat", "--speculative", "openai:[/x]", "--target", "openai:y"])
    assert result.exit_code == 1
    assert "[/x]" in result.output


OPENAI = "openai:m@https://api.openai.com/v1"
OTHER = "openai:m@http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("spec", "side", "key"),
    [
        pytest.param(OTHER, "speculative", "sk-small", id="the small model's server gets the small model's key"),
        pytest.param(OTHER, "target", "sk-large", id="the large model's server gets the large model's key"),
        pytest.param(OPENAI, "target", "sk-large", id="the key of a side comes before OpenAI's"),
        pytest.param(OTHER, "variant_14b-fast", "sk-14b", id="a further model's server gets the key of its name"),
        pytest.param(OTHER, "variant_target", "none", id="a further model's server never gets the large model's key"),
    ],
)
def test_each_model_has_its_own_key(spec: str, side: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARIANT_14B_FAST_API_KEY", "sk-14b")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("SPECULATIVE_API_KEY", "sk-small")
    monkeypatch.setenv("TARGET_API_KEY", "sk-large")
    assert key_of(backend(spec, side)) == key


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        pytest.param(OPENAI, "sk-openai", id="OpenAI gets its key"),
        pytest.param("openai:m@https://api.openai.com/v1/", "sk-openai", id="OpenAI with a slash gets its key"),
        pytest.param(OTHER, "none", id="another server gets none"),
        pytest.param("openai:m@https://api.openai.com.evil.test/v1", "none", id="a host that looks like it gets none"),
        pytest.param("openai:m@https://evil.test/https://api.openai.com/v1", "none", id="nor one that names it"),
        pytest.param("openai:m@http://api.openai.com/v1", "none", id="nor OpenAI without encryption"),
    ],
)
def test_the_key_of_openai_goes_to_openai_alone(spec: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    for variable in ("SPECULATIVE_API_KEY", "TARGET_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    assert {key_of(backend(spec, "speculative")), key_of(backend(spec, "target"))} == {key}


def key_of(made: Backend) -> str:
    return str(made._api_key.get_secret_value())  # type: ignore[attr-defined]  # noqa: SLF001


def test_help_names_the_variables_of_the_keys() -> None:
    shown = CliRunner().invoke(app, ["doctor", "--help"]).output
    for variable in ("SPECULATIVE_API_KEY", "TARGET_API_KEY", "OPENAI_API_KEY"):
        assert variable in shown


@pytest.mark.parametrize("spec", ["openai:m@http://me:p4ssW0rd@h:port/v1?k=p4ssW0rd", "openai:me:p4ssW0rd@h/v1"])
def test_an_invalid_address_is_not_repeated_with_its_password(spec: str) -> None:
    for arguments in (["doctor", "--target", spec, "--json"], ["chat", "--speculative", spec, "--target", spec]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        assert "://me:" not in result.output
        assert "k=p4ss" not in result.output


@pytest.mark.parametrize("typed", ["\n", ""])
def test_an_empty_line_or_the_end_of_input_ends_a_conversation(typed: str) -> None:
    spec = "openai:n@http://127.0.0.1:9/v1"
    result = CliRunner().invoke(app, ["chat", "--speculative", spec, "--target", spec], input=typed)
    assert result.exit_code == 0
    assert "non-reasoning mode" in result.output


def test_chat_saves_the_latest_turn(tmp_path: Path) -> None:
    folder, file = Path(pocket.__file__).parent, tmp_path / "run.json"
    pair_of = ["--speculative", str(folder / "pocket-small"), "--target", str(folder / "pocket-large")]
    arguments = ["chat", *pair_of, "--max-tokens", "40", "--temperature", "0", "--save", str(file)]
    with collect_output() as output:
        result = CliRunner().invoke(app, arguments, input="First?\nSecond?\n\n")
    assert result.exit_code == 0
    assert (output, result.stderr) == ([], "")
    kept = Trace.load(file)
    assert (kept.question, kept.finish_reason) == ("Second?", "length")
    assert kept.thinking
    assert kept.model_name.endswith("pocket-large")


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Let PyTorch compute with two threads, and afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_the_demo_streams_a_problem_and_compares() -> None:
    with collect_output() as output:
        result = CliRunner().invoke(app, ["demo", "--problems", "1"])
    assert torch.get_num_threads() == 1  # on a busy machine, a second thread makes the demo several times as slow
    assert result.exit_code == 0
    assert (output, result.stderr) == ([], "")
    assert pocket.problems()[0].question.split(".")[0] in result.output
    assert "\\boxed{" in result.output
    assert "Side by side" in result.output
    assert "small alone" in result.output
    words = " ".join(result.output.split())
    assert "first 1 of 20" in words
    assert words.endswith("where the small model hesitates.")


def test_the_figures_of_the_demo_are_those_that_were_measured() -> None:
    file = Path(__file__).parents[2] / "benchmarks" / "pays" / "measured.json"
    runs = json.loads(file.read_text(encoding="utf-8"))["pairs"]["pocket"]["runs"]
    assert {name: runs[name]["accuracy"] for name in MEASURED} == MEASURED


def test_importing_the_package_loads_no_heavy_package() -> None:
    heavy = ("torch", "transformers", "openai", "typer")
    code = f"import langchain_spec_thinking, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    assert done.stdout.strip() == "[]"

"""`spec-thinking show` opens the files of `recording`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from langchain_spec_thinking import Trace, read_records, recording
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.test_chat_models import pair

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn


class Failing(ScriptedBackend):
    """A model that writes a piece and then fails."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event]:
        yield next(iter(super().continue_turn(turn, request)))
        message = "small: the cable is out"
        raise BackendError(message)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    file = tmp_path / "records.jsonl"
    with recording(file):
        for question in ("2 + 3?", "3 + 2?"):
            pair().invoke(question)
    return file


def shown(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["show", *map(str, arguments)], terminal_width=200)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("options", "question", "number"),
    [
        pytest.param([], "3 + 2?", 2, id="the last turn by default"),
        pytest.param(["--turn", "1"], "2 + 3?", 1, id="the first turn"),
        pytest.param(["--turn", "2"], "3 + 2?", 2, id="the last turn by its number"),
    ],
)
def test_a_turn_of_a_file_of_records_is_shown(records: Path, options: list[str], question: str, number: int) -> None:
    text = shown(records, *options)
    assert f"turn {number} of 2\n{question}\n" in text
    assert "[target] Hm, two and three make five indeed. [speculative] So it is 5." in text
    for expected in ("1 takeovers", "(wait)", "All takeovers (1)"):
        assert expected in text


def test_a_turn_that_is_not_there_is_refused(records: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(records), "--turn", "3"])
    assert result.exit_code == 1
    assert "--turn 3: expected a turn from 1 to 2, because" in " ".join(result.output.split())


def test_a_record_becomes_a_page(records: Path) -> None:
    assert shown(records, "--html").replace("\n", "") == str(records.with_suffix(".html"))
    assert shown(records, "--html", "--turn", "1").replace("\n", "") == str(records.with_name("records-1.html"))
    first, last = map(Trace.of_record, read_records(records))
    assert records.with_suffix(".html").read_text(encoding="utf-8") == last.html()
    assert records.with_name("records-1.html").read_text(encoding="utf-8") == first.html()


def test_a_record_and_its_message_give_the_same_trace(tmp_path: Path) -> None:
    model = pair()
    with recording(tmp_path / "records.jsonl"):
        message = model.invoke("2 + 3?")
    [record] = read_records(tmp_path / "records.jsonl")
    found, expected = Trace.of_record(record), Trace.of(message, "2 + 3?")
    assert replace(found, report=expected.report) == expected
    assert [asdict(s) | {"seconds": 0} for s in found.report.segments] == [
        asdict(s) | {"seconds": 0} for s in expected.report.segments
    ]


def test_a_record_without_texts_shows_its_figures(tmp_path: Path) -> None:
    with recording(tmp_path / "records.jsonl", texts=False):
        pair().invoke("2 + 3?")
    text = shown(tmp_path / "records.jsonl")
    assert "This record holds no texts" in text
    assert "1 takeovers" in text
    assert "5" not in text.split("1 takeovers")[0]  # neither the question nor the answer


def test_a_turn_that_broke_off_shows_its_error_once(tmp_path: Path) -> None:
    with recording(tmp_path / "records.jsonl"), pytest.raises(BackendError):
        pair(speculative=Failing("One. Two.")).invoke("2 + 3?")
    text = shown(tmp_path / "records.jsonl")
    assert "The turn broke off: BackendError: small: the cable is out" in text
    assert text.count("the cable is out") == 1


def test_a_file_without_a_turn_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    result = CliRunner().invoke(app, ["show", str(tmp_path / "empty.jsonl")])
    assert result.exit_code == 1
    assert "expected a file written by" in " ".join(result.output.split())

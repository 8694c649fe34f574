"""Later versions read old record files, and a replay of such a file repeats its decisions bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from langchain_spec_thinking import Record, read_records, replay
from langchain_spec_thinking.policy import Delegation
from langchain_spec_thinking.recording.format import METHODS, VERSION

FILE = Path(__file__).parent / "data" / "records_version_1.jsonl"
"""Turns written by version 1 of the format: an earlier pocket pair under four policies, a tool call, and cut pieces."""
RECORDS = read_records(FILE)


@pytest.mark.parametrize("record", RECORDS, ids=[f"turn {i}" for i in range(len(RECORDS))])
def test_a_record_of_version_1_is_replayed_bit_for_bit(record: Record) -> None:
    again = replay(record)
    assert again.valid, str(again.difference)
    assert (again.turn.thinking, again.turn.answer) == (record.thinking, record.answer)
    assert again.turn.calls == list(record.calls)


@pytest.mark.parametrize("record", RECORDS, ids=[f"turn {i}" for i in range(len(RECORDS))])
def test_a_record_of_version_2_is_replayed_bit_for_bit(record: Record) -> None:
    data = json.loads(record.to_json())
    del data["machine"]["divide_pieces"]  # version 2 did not have it
    assert replay(Record.from_dict({**data, "version": 2})).valid


def test_a_record_holds_a_piece_whose_tokens_count_in_another_way_today() -> None:
    machines = [{**record.machine, "divide_pieces": True} for record in RECORDS]
    today = [replay(replace(record, machine=machine)) for record, machine in zip(RECORDS, machines, strict=True)]
    assert not all(again.valid for again in today)


@pytest.mark.parametrize("record", RECORDS, ids=[f"turn {i}" for i in range(len(RECORDS))])
def test_a_record_of_version_1_is_the_same_when_it_is_written_again(record: Record) -> None:
    assert Record.from_dict(json.loads(record.to_json())) == record
    assert record.as_dict()["version"] == VERSION


def test_the_file_holds_turns_of_every_kind() -> None:
    kinds = {getattr(decision.command, "kind", None) for record in RECORDS for decision in record.decisions}
    assert {"draft", "opening", "reflection", "verification", "score", "trigger", "answer"} <= kinds
    assert any(record.calls for record in RECORDS)


def test_every_input_has_a_name_in_files() -> None:
    public = {name for name, value in vars(Delegation).items() if callable(value) and not name.startswith("_")}
    assert set(METHODS.values()) == public


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", None, [2], {}])
def test_another_version_is_refused(version: Any) -> None:
    line = {**json.loads(FILE.read_text(encoding="utf-8").splitlines()[0]), "version": version}
    with pytest.raises(ValueError, match=f"version 1 to {VERSION}"):
        Record.from_dict(line)

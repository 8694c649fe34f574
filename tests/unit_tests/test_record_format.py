"""Later versions read old record files, and a replay of such a file repeats its decisions bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, Record, read_records, recording, replay
from langchain_spec_thinking.backends.base import End
from langchain_spec_thinking.policy import Delegation
from langchain_spec_thinking.policy.commands import Finish
from langchain_spec_thinking.recording.format import METHODS, VERSION
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

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


def test_a_budget_of_an_old_record_loses_its_prices() -> None:
    data = json.loads(RECORDS[0].to_json())
    price = {"type": "Price", "prompt": 1.0, "completion": 4.0, "cached": None}
    budget = {"type": "Budget", "cost": 9.0, "target_price": price, "speculative_price": None}
    old = {**data, "version": 3, "policy": {**data["policy"], "budget": budget}}
    record = Record.from_dict(old)
    assert record.policy["budget"] == {"type": "Budget", "cost": 9.0}
    assert replay(record).valid


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


class FullContext(ScriptedBackend):
    """A model whose context is full when it is asked for the answer."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if turn.closing:
            yield End("length")
        else:
            yield from super().continue_turn(turn, request)


def test_a_record_of_version_3_ends_where_the_context_of_the_model_that_answers_is_full() -> None:
    records: list[Record] = []
    small, large = FullContext("Hm.", thinks=True), ScriptedBackend("Four.", thinks=True)
    with recording(records.append):
        ChatSpeculativeThinking(speculative=small, target=large).invoke("2 + 2?")
    [record] = records
    assert record.answer == "Four."
    assert replay(record).valid
    last = max(i for i, entry in enumerate(record.inputs) if entry.author == "speculative")
    kept = [decision for decision in record.decisions if decision.input < last]
    end = next(decision for decision in record.decisions if decision.input == last)
    old = replace(
        record,
        inputs=record.inputs[: last + 1],
        decisions=(*kept, replace(end, command=Finish("length"))),
        answer="",
        finish_reason="length",
    ).as_dict()
    assert not replay(Record.from_dict(old)).valid  # version 4 asks the other model
    assert replay(Record.from_dict({**old, "version": 3})).valid


def test_a_record_that_does_not_know_blocks_has_boundaries_inside_them() -> None:
    records: list[Record] = []
    small = ScriptedBackend("```\na = 1\n\nWait = 2\n```\n</think>Four.", thinks=True)
    with recording(records.append):
        ChatSpeculativeThinking(speculative=small, target=ScriptedBackend("Four.", thinks=True)).invoke("2 + 2?")
    data = records[0].as_dict()
    assert replay(Record.from_dict(data)).valid
    rules = {name: rule for name, rule in data["policy"]["reference_rules"].items() if name != "boundaries_in_blocks"}
    old = Record.from_dict({**data, "policy": {**data["policy"], "reference_rules": rules}})
    assert "(reflection: wait)" in str(replay(old).difference)  # at that time, the large model took over there

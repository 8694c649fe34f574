"""JSON that is nested too deeply, has numbers with too many digits, or is no JSON at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking import read_records
from langchain_spec_thinking.evaluation.policy_lines import parse_policy
from langchain_spec_thinking.json_values import DEPTH_MAX, json_text, read_json, read_json_at_start
from langchain_spec_thinking.jsonl import LineAppender, read_lines
from langchain_spec_thinking.tools import ToolCall
from langchain_spec_thinking.viewing.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEEP = "[" * 100_000
CLOSED = "[" * 100_000 + "]" * 100_000
DIGITS = '{"a": ' + "1" * 5000 + "}"
HOSTILE = [DEEP, CLOSED, '{"a":' * 100_000, DIGITS, "", "{", '"\\ud8"', "[1,", "nul"]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:9])
def test_hostile_json_is_a_value_error(text: str) -> None:
    for read in (read_json, read_json_at_start):
        with pytest.raises(ValueError, match=r"nested|digits|Expecting|Invalid"):
            read(text)
    assert ToolCall("1", "f", text).parsed() == text


@given(st.text(max_size=30) | st.text(alphabet='{}[]":,0eE-.ntf\\u ', max_size=30) | st.binary(max_size=20))
def test_any_text_is_a_value_or_a_value_error(text: str | bytes) -> None:
    try:
        value = read_json(text)
    except ValueError:
        return
    assert json.dumps(value)


def test_the_depth_is_limited() -> None:
    assert read_json(nested(DEPTH_MAX)) == json.loads(nested(DEPTH_MAX))
    assert read_json_at_start(nested(DEPTH_MAX) + "]")[1] == 2 * DEPTH_MAX
    with pytest.raises(ValueError, match="at most 100 nested brackets"):
        read_json(nested(DEPTH_MAX + 1))


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [{"a": object()}, {1, 2}, circle(), {"a": "\ud83d"}, {"\ud83d": 1}])
def test_data_that_json_cannot_hold_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^tools: expected"):
        json_text("tools", value)


READERS: dict[str, Callable[[Path], object]] = {
    "lines": lambda path: list(read_lines(path)),
    "records": read_records,
    "a trace": Trace.load,
    "a policy": lambda path: parse_policy(f"x:{path}"),
}


@pytest.mark.parametrize("text", [DEEP, CLOSED, DIGITS, f'{{"version": 2, "streams": {nested(500)}}}', "\x00"])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_hostile_file_is_a_value_error(read: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"file\.json"):
        read(path)


def test_a_deep_last_line_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text("{}\n" + DEEP, encoding="utf-8")
    LineAppender(path)('{"a": 1}')
    assert [value for _, value in read_lines(path)] == [{}, {"a": 1}]

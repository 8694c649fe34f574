"""`degraded` in the report lists everything that was not as asked, in the order in which it happened."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_spec_thinking import Budget, ChatSpeculativeThinking, DelegationPolicy, Record, Trace
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.recording.recorder import recording
from langchain_spec_thinking.report import Report
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from langchain_spec_thinking.backends.base import Backend, Event, Request
    from langchain_spec_thinking.backends.capabilities import Capabilities
    from langchain_spec_thinking.turn import Turn

LIMITED = "large only gets an instruction to continue"
FAILED = "the large model failed, so the small model continued alone: nobody is there"
SPENT = "the budget is spent: the large model wrote 4 of at most 4 tokens"


class Limited(ScriptedBackend):
    """A backend that has a limitation, and that fails from a given request on."""

    def __init__(self, requests: int = 99) -> None:
        super().__init__("Wait, no. " * 20, name="large")
        self.left = requests

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, limitation=LIMITED)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        self.left -= 1
        if self.left < 0:
            msg = "nobody is there"
            raise BackendError(msg)
        yield from super().continue_turn(turn, request)


def small(turn: Turn) -> str:
    return "".join(f"Wait, no. So on {n}.\n\n" for n in range(20 - turn.answer.count("\n\n")))


def pair(target: Backend, budget: Budget | None = None) -> ChatSpeculativeThinking:
    """Return a pair with a takeover of four tokens at most boundaries."""
    policy = DelegationPolicy(takeover_tokens=4, reflection_limit=99, reflection_limit_max=99, budget=budget)
    return ChatSpeculativeThinking(speculative=ScriptedBackend(small), target=target, policy=policy)


def degraded(message: AIMessage) -> Any:
    return message.response_metadata["speculative_thinking"]["degraded"]


@pytest.mark.parametrize(
    ("target", "budget", "reasons"),
    [
        pytest.param(lambda: ScriptedBackend("Wait, no. " * 20), None, [], id="all as asked"),
        pytest.param(Limited, None, [LIMITED], id="a limitation at each of many takeovers"),
        pytest.param(Limited, Budget(target_tokens=4), [LIMITED, SPENT], id="a limitation, then the budget"),
        pytest.param(lambda: Limited(1), None, [LIMITED, FAILED], id="a limitation, then a failure"),
        pytest.param(lambda: Limited(0), Budget(target_tokens=4), [FAILED], id="a failure, and never the budget"),
    ],
)
async def test_every_reason_is_listed_once_in_order_in_every_way_to_call_the_model(
    target: Any, budget: Budget | None, reasons: list[str]
) -> None:
    invoked = pair(target(), budget).invoke("hi")
    streamed = AIMessageChunk(content="")
    for chunk in pair(target(), budget).stream("hi"):
        streamed += chunk
    streamed_async = AIMessageChunk(content="")
    async for chunk in pair(target(), budget).astream("hi"):
        streamed_async += chunk
    messages = [invoked, await pair(target(), budget).ainvoke("hi"), streamed, streamed_async]
    assert [degraded(message) for message in messages] == [reasons] * 4


def test_a_limit_is_listed_once_although_its_numbers_change() -> None:
    message = pair(ScriptedBackend("Wait, no. " * 20), Budget(target_share=0.2)).invoke("hi")
    [reason] = degraded(message)
    assert reason.startswith("the budget is spent: ")
    assert reason.endswith("% of the tokens, the limit is 20%")


def test_a_message_does_not_change_with_its_report() -> None:
    report = Report()
    content = report.as_dict()
    report.add_degraded("late")
    assert content["degraded"] == []


@pytest.mark.parametrize(
    ("stored", "reasons"),
    [
        pytest.param(None, [], id="None of an earlier version"),
        pytest.param(SPENT, [SPENT], id="a string of an earlier version"),
        pytest.param([LIMITED, SPENT], [LIMITED, SPENT], id="a list"),
    ],
)
class TestStored:
    def test_in_a_message(self, stored: Any, reasons: list[str]) -> None:
        content = {**Report().as_dict(), "degraded": stored}
        message = AIMessage("4", response_metadata={"speculative_thinking": content})
        assert Trace.of(message).report.degraded == reasons

    @pytest.mark.parametrize("version", [1, 2])
    def test_in_a_trace(self, stored: Any, reasons: list[str], version: int, tmp_path: Path) -> None:
        file = tmp_path / "run.json"
        Trace("", "4", Report()).save(file)
        held = json.loads(file.read_text(encoding="utf-8"))
        held["version"] = version
        held["speculative_thinking"]["degraded"] = stored
        file.write_text(json.dumps(held), encoding="utf-8")
        assert Trace.load(file).report.degraded == reasons

    def test_in_a_record(self, stored: Any, reasons: list[str]) -> None:
        records: list[Record] = []
        with recording(records.append):
            pair(ScriptedBackend("Wait, no. " * 20)).invoke("hi")
        line = records[0].as_dict()
        line["report"] = {**line["report"], "degraded": stored}
        assert Record.from_dict(line).report["degraded"] == reasons


def test_a_page_shows_every_reason() -> None:
    html = Trace("", "4", Report(degraded=["one reason", "<another>"])).html()
    assert html.index("one reason") < html.index("&lt;another&gt;")


def test_a_record_without_texts_keeps_the_number_of_reasons() -> None:
    records: list[Record] = []
    with recording(records.append, texts=False):
        pair(Limited(), Budget(target_tokens=4)).invoke("hi")
    [record] = records
    assert len(record.report["degraded"]) == 2
    assert not {LIMITED, SPENT} & set(record.report["degraded"])

"""Tests of recording turns and of replaying the records."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from typer.testing import CliRunner

from langchain_spec_thinking import (
    Backend,
    Budget,
    ChatSpeculativeThinking,
    CueTrigger,
    DelegationPolicy,
    Draft,
    Lexicon,
    OpenAIBackend,
    RandomTrigger,
    Record,
    Trigger,
    read_records,
    recording,
    replay,
)
from langchain_spec_thinking.backends.base import End, Piece
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.policy.data import as_data, policy_from_data
from langchain_spec_thinking.recording.record import Input
from langchain_spec_thinking.run import Run
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.policy.test_properties import POLICIES, TEXTS
from tests.unit_tests.test_chat_models import pair
from tests.unit_tests.tool_task import THOUGHT, TOOLS, call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from langchain_core.messages import AIMessageChunk

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.policy.commands import Command, EndReason
    from langchain_spec_thinking.turn import Turn
    from langchain_spec_thinking.turn_events import TurnEvent

QUESTION = "What is 2 + 3?"
KEY = "sk-very-secret"


class GoneError(BackendError):
    """Error of a server that closed the connection."""

    is_retryable = True


@dataclass
class FixedTexts(Backend):
    """A backend that writes its texts one after the other and ignores the turn. It raises the errors in its list."""

    streams: list[tuple[str, EndReason | Exception]] = field(default_factory=list)
    name: str = "fixed texts"
    thinks: bool = True
    capabilities = Capabilities(top_logprobs_max=20)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        text, end = self.streams.pop(0) if self.streams else ("so.</think>It is.", "stop")
        pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
        for number, piece in enumerate(pieces[: request.max_tokens]):
            yield Piece(piece, top_logprobs=(-0.1 * number, -2.5) if request.top_logprobs else None)
        if isinstance(end, Exception):
            raise end
        yield End("length" if len(pieces) > request.max_tokens else end)


STREAMS = st.lists(
    st.tuples(TEXTS, st.sampled_from(["stop", "length", GoneError("hung up"), BackendError("refused")])), max_size=8
)
BUDGETS = st.sampled_from([None, Budget(target_tokens=9), Budget(target_share=0.1)])


def recorded(model: ChatSpeculativeThinking, *, texts: bool = True) -> Record:
    """Run a turn and return its record, even if the turn fails."""
    records: list[Record] = []
    with recording(records.append, texts=texts), suppress(BackendError):
        model.invoke(QUESTION)
    (record,) = records
    return record


def segments(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the segments without their times, because files hold rounded times."""
    return [{**segment, "seconds": 0} for segment in report["segments"]]


@given(POLICIES, BUDGETS, STREAMS, STREAMS, st.sampled_from(["speculative", "target"]))
@settings(max_examples=400, deadline=None)
def test_any_turn_is_replayed_bit_for_bit(
    policy: DelegationPolicy,
    budget: Budget | None,
    small: list[tuple[str, EndReason | Exception]],
    large: list[tuple[str, EndReason | Exception]],
    answer_by: Literal["speculative", "target"],
) -> None:
    model = ChatSpeculativeThinking(
        speculative=FixedTexts(list(small)),
        target=FixedTexts(list(large)),
        policy=replace(policy, budget=budget),
        answer_by=answer_by,
        max_tokens=150,
        stop=["STOP"],
    )
    live: list[Command] = []
    records: list[Record] = []
    with recording(records.append), suppress(BackendError):
        run = model.new_run([HumanMessage(QUESTION)])
        assert isinstance(run, Run)
        apply_commands = run._apply  # noqa: SLF001 - everything that the machine says

        def apply_and_collect(commands: Sequence[Command]) -> list[TurnEvent]:
            live.extend(commands)
            return apply_commands(commands)

        run._apply = apply_and_collect  # type: ignore[method-assign]  # noqa: SLF001
        for _ in drive(run):
            pass
    (record,) = records
    read = Record.from_dict(json.loads(record.to_json()))
    again = replay(read)
    assert again.valid, str(again.difference)
    assert list(again.commands) == live
    assert (again.turn.thinking, again.turn.answer) == (record.thinking, record.answer)
    assert segments(again.report.as_dict()) == segments(record.report)
    assert again.report.takeovers == record.report["takeovers"]
    assert again.report.as_dict()["usage"] == record.report["usage"]


def test_a_record_holds_the_conversation_the_settings_and_the_result() -> None:
    model = pair(seed=3)
    record = recorded(model)
    assert [message.content for message in record.history] == [QUESTION]
    assert record.model["seed"] == 3
    assert record.model["speculative"] == model.speculative.describe()
    assert record.machine["max_tokens"] == 32_768
    assert policy_from_data(record.policy) == model.policy
    assert record.thinking.startswith("I add 2 and 3.")
    assert (record.finish_reason, record.error) == ("stop", None)
    assert {entry.author for entry in record.inputs} == {None, "speculative", "target"}
    assert record.inputs[0].call == "start"
    assert record.report["usage"]["target"]["requests"] == 1


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
def test_turns_are_recorded_for_every_way_to_call_the_model(how: str, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "runs.jsonl"
    model = pair()

    async def astream() -> None:
        async for _ in model.astream(QUESTION):
            pass

    calls: dict[str, Callable[[], object]] = {
        "invoke": lambda: model.invoke(QUESTION),
        "ainvoke": lambda: asyncio.run(model.ainvoke(QUESTION)),
        "stream": lambda: list(model.stream(QUESTION)),
        "astream": lambda: asyncio.run(astream()),
        "batch": lambda: model.batch([QUESTION] * 3),
        "abatch": lambda: asyncio.run(model.abatch([QUESTION] * 3)),
    }
    with recording(file):
        calls[how]()
    model.invoke("This is not recorded.")
    records = read_records(file)
    assert len(records) == (3 if "batch" in how else 1)
    for record in records:
        assert replay(record).turn.thinking == record.thinking == records[0].thinking
        assert record.finish_reason == "stop"


def test_an_unfinished_turn_is_written_at_the_end_of_the_block(tmp_path: Path) -> None:
    with recording(tmp_path / "runs.jsonl"):
        stream = cast("Generator[AIMessageChunk, None, None]", pair().stream(QUESTION))
        first = next(stream)
        stream.close()
    (record,) = read_records(tmp_path / "runs.jsonl")
    assert record.error == "the turn did not finish"
    assert record.finish_reason is None
    assert record.thinking.startswith(first.content_blocks[0]["reasoning"])  # type: ignore[typeddict-item]
    assert replay(record).valid


def test_a_failed_turn_is_recorded_with_its_error_and_text() -> None:
    record = recorded(pair(speculative=FixedTexts([("I add ", BackendError("the server is gone"))])))
    assert record.error == "BackendError: the server is gone"
    assert record.thinking == "I add "
    assert replay(record).turn.thinking == "I add "


def test_a_record_without_texts_holds_no_text() -> None:
    with_texts, without = recorded(pair()), recorded(pair(), texts=False)
    line = without.to_json()
    for said in (QUESTION, "I add", "Hm,", "indeed", "say."):
        assert said in with_texts.to_json()
        assert said not in line
    assert [entry.tokens for entry in without.inputs] == [entry.tokens for entry in with_texts.inputs]
    assert without.decisions == with_texts.decisions
    assert segments(without.report) == segments(with_texts.report)
    with pytest.raises(ValueError, match="without texts cannot be replayed"):
        replay(Record.from_dict(json.loads(line)))


def test_no_key_is_in_a_record() -> None:
    model = pair(target=OpenAIBackend("m", base_url="http://127.0.0.1:9/v1", api_key=KEY))
    records: list[Record] = []
    with recording(records.append):
        model.new_run([HumanMessage(QUESTION)])
    line = records[0].to_json()
    assert "127.0.0.1:9" in line
    assert KEY not in line


def test_tool_calls_are_replayed() -> None:
    model = pair(
        speculative=ScriptedBackend("".join(THOUGHT) + "</think>" + call("price", item="tea"), thinks=True),
    ).bind_tools(TOOLS)
    records: list[Record] = []
    with recording(records.append):
        message = model.invoke("tea")
    (record,) = records
    assert [made.name for made in record.calls] == [made["name"] for made in message.tool_calls] == ["price"]
    again = replay(Record.from_dict(json.loads(record.to_json())))
    assert again.turn.calls == list(record.calls)
    assert segments(again.report.as_dict()) == segments(record.report)


# The recorded turn is "I add 2 and 3.\n\n", the dropped draft "Wait,", seven tokens of the target, and the rest.
OTHERS = {
    "no cue": (
        DelegationPolicy(CueTrigger(Lexicon(reflection=("never",))), 7),
        "recorded: target for 7 tokens (reflection: wait); replayed: the same model continues",
    ),
    "another cue at another place": (
        DelegationPolicy(CueTrigger(Lexicon(reflection=("it",))), 7),
        "recorded: target for 7 tokens",
    ),
    "longer": (DelegationPolicy(takeover_tokens=9), "recorded: a limit of 7 tokens; replayed: a limit of 9 tokens"),
    "shorter": (DelegationPolicy(takeover_tokens=3), "recorded: a limit of 7 tokens; replayed: a limit of 3 tokens"),
    "opening": (DelegationPolicy(opening_tokens=5), "replayed: target for 5 tokens (opening)"),
    "a random trigger that never fires": (DelegationPolicy(RandomTrigger(0), 7), "recorded: target for 7 tokens"),
}


@pytest.mark.parametrize(("policy", "message"), OTHERS.values(), ids=OTHERS)
def test_another_policy_is_replayed_up_to_the_first_difference(policy: DelegationPolicy, message: str) -> None:
    record = recorded(pair())
    again = replay(record, policy)
    assert not again.valid
    assert message in str(again.difference)
    assert again.difference
    assert record.thinking.startswith(again.turn.thinking)
    assert len(again.turn.thinking) == again.difference.written


@pytest.mark.parametrize(
    "changes",
    [
        {"verification_tokens": 9},
        {"recap_tokens": 1},
        {"recap_sentence": "So:"},
        {"trigger": RandomTrigger(1)},  # takes over at the same place for another reason
        {},
    ],
)
def test_another_policy_with_the_same_decisions_is_valid(changes: dict[str, Any]) -> None:
    record = recorded(pair())
    again = replay(record, replace(pair().policy, **changes))
    assert again.valid
    assert again.turn.thinking == record.thinking


@pytest.mark.parametrize(("limit", "valid"), [(12, False), (13, True), (14, True), (99, True)])
def test_a_limit_that_was_not_reached_makes_no_difference(limit: int, *, valid: bool) -> None:
    """The target writes 13 tokens, including the tag that ends the thought."""
    target = ScriptedBackend("one two three four five six seven eight nine ten eleven twelve</think> It is 5.")
    record = recorded(pair(target=target, policy=DelegationPolicy(takeover_tokens=50), answer_by="speculative"))
    assert record.thinking.endswith("twelve")
    assert replay(record, DelegationPolicy(takeover_tokens=limit)).valid == valid


@dataclass(frozen=True)
class UserTrigger(Trigger):
    """A trigger that a user has written."""

    letter: str = "W"
    lexicon: Lexicon = field(default_factory=Lexicon)

    def examine(self, draft: Draft) -> None:
        return None


def test_a_users_trigger_must_be_passed_to_replay() -> None:
    policy = DelegationPolicy(trigger=UserTrigger())
    record = recorded(pair(policy=policy))
    with pytest.raises(ValueError, match=r"UserTrigger: expected one of .*RandomTrigger"):
        replay(record)
    assert replay(record, policy).valid


@given(POLICIES, BUDGETS)
def test_a_policy_is_restored_from_data(policy: DelegationPolicy, budget: Budget | None) -> None:
    policy = replace(policy, budget=budget)
    data = json.loads(json.dumps(as_data(policy)))
    assert policy_from_data(data) == policy
    assert asdict(policy_from_data({})) == asdict(DelegationPolicy())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"trigger": {"type": "os.system"}}, "os.system: expected one of"),
        ({"takeover": 3}, "DelegationPolicy: expected fields among trigger, takeover_tokens"),
        ({"type": "Lexicon"}, "expected a DelegationPolicy, got a Lexicon"),
        ({"takeover_tokens": -1}, "takeover_tokens: expected a whole number"),
    ],
)
def test_data_of_something_else_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        policy_from_data(data)


@pytest.mark.parametrize(
    ("line", "message"),
    [("{}", "line 2: expected a record"), ("[1]", "line 2: expected a JSON object"), ("{", "line 2: expected a JSON")],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text(f"{recorded(pair()).to_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_records(file)


@pytest.mark.parametrize("rest", ['{"version": 1, "beg', "x" * 70_000])
def test_a_half_written_line_is_cut_off(rest: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    whole = recorded(pair()).to_json()
    file.write_text(f"{whole}\n{rest}", encoding="utf-8")
    with recording(file):
        pair().invoke(QUESTION)
    assert len(read_records(file)) == 2


def test_other_arguments_are_restored() -> None:
    """Other triggers may need further arguments with a text. A record holds such arguments by name."""
    entry = Input(0.5, "speculative", "receive", ("Wait", 1), {"top_logprobs": ({"Wait": -0.1, "So": -2.5},)})
    record = replace(recorded(pair()), inputs=(entry,), decisions=())
    (again,) = Record.from_dict(json.loads(record.to_json())).inputs
    assert again == entry
    (scrubbed,) = record.without_texts().inputs
    assert (scrubbed.arguments, scrubbed.keywords) == ((4, 1), {})


def test_a_run_driven_by_the_caller_is_recorded() -> None:
    records: list[Record] = []
    with recording(records.append):
        run = pair().new_run([HumanMessage(QUESTION)])
        for _ in drive(run):
            pass
        assert len(records) == 1
    assert records[0].report == run.report.as_dict()


def test_the_chat_command_records_a_conversation(tmp_path: Path) -> None:
    from langchain_spec_thinking import pocket  # noqa: PLC0415

    folder = pocket.__path__[0]
    models = ["--speculative", f"{folder}/pocket-small", "--target", f"{folder}/pocket-large", "--max-tokens", "30"]
    file = tmp_path / "runs.jsonl"
    result = CliRunner().invoke(app, ["chat", *models, "--record", str(file)], input="First?\nSecond?\n\n")
    assert result.exit_code == 0
    first, second = read_records(file)
    assert [message.role for message in second.history] == ["user", "assistant", "user"]
    assert replay(first).valid

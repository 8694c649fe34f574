"""Harmony, the format of gpt-oss: prompts, replies, calls, and servers that remove its control tokens."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.local.model import LocalModel
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.harmony_reader import REMOVED_TOKENS, HarmonyReader
from langchain_spec_thinking.backends.replies.reply_parts import LATE_REASONING
from langchain_spec_thinking.backends.replies.thought_reader import STRIPPED_HARMONY, ThoughtReader
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.tools import Tools
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_chat_model import Plain
from tests.unit_tests.wire import Server, continued, delta, sse, text

MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>")
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}{# <|channel|> #}"
)
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
NEXT = "<|end|><|start|>assistant"
WORDS = "<|channel|>commentary<|message|>"
LONG = "Four. " * 60
COMMENTARY = '<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 1}<|call|>'
HI = (Message("user", "hi"),)
ADD: dict[str, Any] = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {}}}
REPLY = f"{ANALYSIS}A sum.{NEXT}{FINAL}Four.<|return|>"


def tokenizer() -> Any:
    return tiny.special_tokenizer(*MARKS, template=TEMPLATE)


def half(thought: str = "Hm.", answer: str | None = None, **settings: Any) -> Turn:
    turn = Turn(HI, thinks=True, **settings)
    turn.append("speculative", thought)
    if answer is not None:
        turn.closing = "</think>"
        turn.append("target", answer)
    return turn


CALLS = Tools((ADD,))


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        pytest.param(Turn(HI, thinks=True), ANALYSIS, id="a thought begins"),
        pytest.param(half(), f"{ANALYSIS}Hm.", id="half a thought"),
        pytest.param(half(answer=""), f"{ANALYSIS}Hm.{NEXT}{FINAL}", id="an answer begins"),
        pytest.param(half(answer="Four"), f"{ANALYSIS}Hm.{NEXT}{FINAL}Four", id="half an answer"),
        pytest.param(half(pending="</think>Fo"), f"{ANALYSIS}Hm.{NEXT}{FINAL}Fo", id="a stream that broke"),
        pytest.param(half(answer="", tools=CALLS), f"{ANALYSIS}Hm.{NEXT}", id="an answer or a call"),
        pytest.param(Turn(HI), FINAL, id="no thought"),
        pytest.param(half("<|end|>"), f"{ANALYSIS}<\u200b|end|>", id="text that looks like a control token"),
    ],
)
def test_a_turn_is_rendered_in_channels(turn: Turn, expected: str) -> None:
    template = ChatTemplate(tokenizer())
    assert template.thinks
    assert template.reply_text(turn) == template.quoted_reply_text(turn) == expected


def read(reader: Any, pieces: list[str]) -> tuple[str, str, list[Any], list[str]]:
    """Return the thought, the answer, the calls and the notes."""
    parts = [part for piece in pieces for part in reader.feed(piece)] + list(reader.rest())
    assert not reader.holds
    calls = [(part.call.name, json.loads(part.call.arguments)) for part in parts if part.call]
    thought = "".join(part.text for part in parts if part.thought)
    answer = "".join(part.text for part in parts if not part.thought)
    return thought, answer, calls, [part.note for part in parts if part.note]


MADE = [("add", {"a": 1})]
ANSWERED = half(answer="", tools=CALLS)
CASES = [
    pytest.param(lambda: HarmonyReader(half()), f" So.{NEXT}{FINAL}Four.", (" So.</think>", "Four.", [], []), id="on"),
    pytest.param(lambda: HarmonyReader(half(answer="Fo")), "ur.<|return|>x", ("", "ur.", [], []), id="an answer"),
    pytest.param(lambda: HarmonyReader(ANSWERED), COMMENTARY, ("", "", MADE, []), id="a call"),
    pytest.param(lambda: HarmonyReader(ANSWERED), COMMENTARY[: -len("<|call|>")], ("", "", MADE, []), id="its end"),
    pytest.param(lambda: HarmonyReader(ANSWERED), f"{FINAL}No.", ("", "No.", [], []), id="an answer and no call"),
    pytest.param(
        lambda: HarmonyReader(ANSWERED),
        f"<|channel|>commentary<|message|>I add.{NEXT}{COMMENTARY}",
        ("", "I add.", MADE, []),
        id="words before a call",
    ),
    pytest.param(
        lambda: HarmonyReader(ANSWERED),
        "<|channel|>commentary<|message|>x"
        '<|start|>assistant to=functions.add<|channel|>commentary json<|message|>{"a": 1}',
        ("", "x", MADE, []),
        id="the recipient before the channel",
    ),
    pytest.param(
        lambda: HarmonyReader(ANSWERED, drops=True), f"{ANALYSIS}Hm.{NEXT}{FINAL}A", ("", "A", [], []), id="again"
    ),
    pytest.param(
        lambda: ThoughtReader(Turn(HI)),
        f"{ANALYSIS}A{NEXT}{ANALYSIS}B{NEXT}{FINAL}C",
        ("<think>A\n\nB</think>", "C", [], []),
        id="two thoughts",
    ),
    pytest.param(
        lambda: ThoughtReader(Turn(HI)),
        f"{ANALYSIS}A{NEXT}{WORDS}I will look.{NEXT}{ANALYSIS}B{NEXT}{ANALYSIS}B{NEXT}{FINAL}C<|return|>",
        ("<think>A</think>", "I will look.\n\nC", [], [LATE_REASONING]),
        id="a thought after words",
    ),
    pytest.param(
        lambda: HarmonyReader(half(answer="Fo")),
        f"ur.{NEXT}{FINAL}Five.",
        ("", "ur.\n\nFive.", [], []),
        id="two answers",
    ),
    pytest.param(lambda: HarmonyReader(ANSWERED), LONG, ("", LONG, [], [REMOVED_TOKENS]), id="a header without an end"),
    pytest.param(
        lambda: HarmonyReader(ANSWERED),
        f"{LONG}<|message|>A",
        ("", f"{LONG}<|message|>A", [], [REMOVED_TOKENS]),
        id="a header with a late end",
    ),
    pytest.param(
        lambda: HarmonyReader(half()),
        f" So.{NEXT}{LONG}",
        (" So.</think>", f"<|start|>assistant{LONG}", [], []),
        id="a header without an end, after a message",
    ),
    pytest.param(lambda: ThoughtReader(Turn(HI)), REPLY, ("<think>A sum.</think>", "Four.", [], []), id="in a chat"),
    pytest.param(
        lambda: ThoughtReader(Turn(HI)),
        "analysisUser asks a sum.assistantfinalFour.",
        ("<think>User asks a sum.</think>", "Four.", [], [STRIPPED_HARMONY]),
        id="without control tokens",
    ),
    pytest.param(
        lambda: ThoughtReader(Turn(HI)),
        "analysis我们算。assistantfinal四。",
        ("<think>我们算。</think>", "四。", [], [STRIPPED_HARMONY]),
        id="without control tokens, in Chinese",
    ),
    *[
        pytest.param(
            lambda: ThoughtReader(Turn(HI)),
            f"analysis{thought}assistantfinalFour.",
            (f"<think>{thought}</think>", "Four.", [], [STRIPPED_HARMONY]),
            id=f"without control tokens, {thought}",
        )
        for thought in ("user asks.", "2 + 2", '"2 + 2"?')
    ],
    pytest.param(
        lambda: ThoughtReader(Turn(HI, thinks=True)),
        "analysisuser asks.assistantfinalFour.",
        ("analysisuser asks.</think>", "Four.", [], []),
        id="without control tokens, in a thought",
    ),
    *[
        pytest.param(lambda: ThoughtReader(Turn(HI)), words, ("", words, [], []), id=words)
        for words in ("analysis of it", "analysis: good\nscore: 5", "analysisfinal", "analysis</think>")
    ],
    pytest.param(lambda: ThoughtReader(Turn(HI)), "analysis", ("", "analysis", [], []), id="one word"),
    pytest.param(
        lambda: HarmonyReader(half()),
        " So.assistantfinalFour.",
        (" So.assistantfinalFour.", "", [], [REMOVED_TOKENS]),
        id="a thought whose end was removed",
    ),
    pytest.param(lambda: HarmonyReader(ANSWERED), "Four.", ("", "Four.", [], [REMOVED_TOKENS]), id="no message"),
]


@pytest.mark.parametrize(("make", "written", "expected"), CASES)
def test_a_reader_splits_a_reply(make: Any, written: str, expected: Any) -> None:
    assert read(make(), [written]) == expected
    assert read(make(), list(written)) == expected


TEXTS = st.lists(
    st.sampled_from(
        [*MARKS, "analysis", "final", "a" * 99, "commentary to=functions.add", "assistant", "<|", "{}", " ", "A", "\n"]
    ),
    max_size=12,
).map("".join)


@given(st.data(), st.sampled_from([case.values[0] for case in CASES]), TEXTS)
def test_the_cut_of_a_text_changes_nothing(data: st.DataObject, make: Any, written: str) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(written)))) | {0, len(written)})
    assert read(make(), [written[a:b] for a, b in pairwise(cuts)]) == read(make(), [written])


@pytest.mark.parametrize("mark", MARKS)
def test_the_control_tokens_of_a_local_model_are_visible(mark: str) -> None:
    table = tokenizer()
    cache = LocalModel.of(tiny.llama(vocabulary=len(table))).turn_cache(half(), ChatTemplate(table))
    assert cache.append(table.convert_tokens_to_ids(mark)) == mark


@pytest.mark.parametrize("size", [1, 9, 99])
def test_a_completion_is_read(size: int) -> None:
    written = f" So.{NEXT}{FINAL}Four."
    pieces = [text(written[at : at + size]) for at in range(0, len(written), size)]
    server = Server(sse(*pieces, text("", "stop")))
    backend = server.backend(continuation="raw", tokenizer=tokenizer())
    assert continued(backend, half(), max_tokens=200)[0] == " So.</think>Four."
    body = server.requests[0][1]
    assert body["prompt"].endswith(f"<|start|>assistant{ANALYSIS}Hm.")
    assert body["skip_special_tokens"] is False


@pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize(
    ("written", "degraded"),
    [
        pytest.param(REPLY, False, id="with control tokens"),
        pytest.param("analysisA sum.assistantfinalFour.", True, id="without control tokens"),
    ],
)
@pytest.mark.parametrize("chat_model", [False, True], ids=["a server", "a chat model"])
async def test_a_pair_shows_the_thought_and_the_answer(
    chat_model: bool, written: str, degraded: bool, asynchronously: bool
) -> None:
    server = Server(sse(*(delta(content=piece) for piece in written), delta("stop")))
    small = server.backend(tokenizer=None, continuation="chat_flag")
    model = ChatModelBackend(Plain(says=written)) if chat_model else small
    pair = ChatSpeculativeThinking(speculative=model, target=ScriptedBackend())
    message: Any = await pair.ainvoke("2 + 2?") if asynchronously else pair.invoke("2 + 2?")
    assert (message.content_blocks[0]["reasoning"], message.text) == ("A sum.", "Four.")
    said = message.response_metadata["speculative_thinking"]["degraded"]
    assert [STRIPPED_HARMONY in words for words in said] == [True] * degraded


@pytest.mark.parametrize("chat_model", [False, True], ids=["a server", "a chat model"])
def test_a_call_in_the_text_of_a_chat_is_made(chat_model: bool) -> None:
    written = f"{ANALYSIS}I add.{NEXT}{COMMENTARY}"
    server = Server(sse(*(delta(content=piece) for piece in written), delta("stop")))
    model = ChatModelBackend(Plain(says=written)) if chat_model else server.backend(tokenizer=None)
    message: Any = ChatSpeculativeThinking(speculative=model, target=ScriptedBackend()).bind_tools([ADD]).invoke("1?")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == MADE
    assert (message.content_blocks[0]["reasoning"], message.text) == ("I add.", "")


def test_a_call_without_tools_is_text() -> None:
    thought, answer, calls, [note] = read(ThoughtReader(Turn(HI)), [f"{ANALYSIS}Hm.{NEXT}{COMMENTARY}"])
    assert (thought, answer, calls) == ("<think>Hm.</think>", '{"a": 1}', [])
    assert "'add'" in note

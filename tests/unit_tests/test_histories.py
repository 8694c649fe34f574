"""Conversations that other providers' models have begun: the models see the text and the tool calls, and no more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.messages import history_of, unsupported_content
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Message

TEXT = {"type": "text", "text": "It is 5."}
IMAGE = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}

INTERNAL: dict[str, dict[str, Any]] = {
    "a thought of LangChain": {"type": "reasoning", "reasoning": "Hm."},
    "a thought of OpenAI": {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
    "a thought of Anthropic": {"type": "thinking", "thinking": "Hm.", "signature": "x"},
    "a thought of Mistral": {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
    "a hidden thought": {"type": "redacted_thinking", "data": "x"},
    "a thought of Amazon": {"type": "reasoning_content", "reasoning_content": {"text": "Hm.", "signature": "x"}},
    "a search of OpenAI": {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}},
    "code that OpenAI runs": {"type": "code_interpreter_call", "id": "ci_1", "code": "2 + 3", "outputs": None},
    "a search of Anthropic": {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
    "what that search found": {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
    "a search of LangChain": {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"query": "x"}},
    "what LangChain's search found": {"type": "server_tool_result", "tool_call_id": "s1", "status": "success"},
    "tools of an MCP server": {"type": "mcp_list_tools", "id": "m1", "server_label": "x", "tools": []},
    "code that Google runs": {"type": "executable_code", "executable_code": "2 + 3", "language": "PYTHON"},
    "what that code printed": {"type": "code_execution_result", "code_execution_result": "5", "outcome": 1},
    "a signature of Google": {"type": "function_call_signature", "signature": "x"},
    "a block that LangChain wrapped": {"type": "non_standard", "value": {"type": "web_search_call", "id": "ws_1"}},
    "a compacted conversation that only OpenAI can read": {"type": "compaction", "encrypted_content": "x"},
    "a text block without text": {"type": "text"},
    "a text block with no text": {"type": "text", "text": None},
    "a call that is also in tool_calls": {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 2, "b": 3}},
    "a mark of Amazon's prompt cache": {"cachePoint": {"type": "default"}},
}
TEXTS: dict[str, tuple[Any, str]] = {
    "plain text": ("Five.", "Five."),
    "a refusal": ({"type": "refusal", "refusal": "I will not."}, "I will not."),
    "output_text": ({"type": "output_text", "text": "Five.", "annotations": []}, "Five."),
    "input_text": ({"type": "input_text", "text": "Five."}, "Five."),
    "text-plain": ({"type": "text-plain", "mime_type": "text/plain", "text": "Five."}, "Five."),
    "a block without a type": ({"text": "Five."}, "Five."),
    "a block of an unknown type that has text": ({"type": "cited_text", "text": "Five."}, "Five."),
    "a wrapped refusal": ({"type": "non_standard", "value": {"type": "refusal", "refusal": "No."}}, "No."),
    "a summary of Anthropic": ({"type": "compaction", "content": "They add numbers."}, "They add numbers."),
    "speech": ({"type": "audio", "id": "audio_1", "transcript": "Five."}, "Five."),
}
MISSED: dict[str, dict[str, Any]] = {
    "image": IMAGE,
    "image_url": {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}},
    "image_generation_call": {"type": "image_generation_call", "id": "ig_1", "result": "aGk="},
    "audio": {"type": "audio", "base64": "aGk="},
    "file": {"type": "file", "file_id": "x"},
    "hologram": {"type": "hologram", "value": 1},
    "unknown": {"video": {"source": "x"}},
    "non_standard": {"type": "non_standard", "value": "x"},
}


def reply(*blocks: Any, **fields: Any) -> AIMessage:
    return AIMessage([*blocks], **fields)


def seen(*messages: BaseMessage) -> list[tuple[str, str]]:
    """Return the roles and the texts that the models see."""
    return [(message.role, message.content) for message in history_of(messages)]


@pytest.mark.parametrize("block", INTERNAL.values(), ids=INTERNAL.keys())
def test_what_is_the_providers_own_is_left_out_without_a_word(block: dict[str, Any]) -> None:
    message = reply(block, TEXT)
    assert seen(message) == [("assistant", "It is 5.")]
    assert unsupported_content([message]) == []


@pytest.mark.parametrize(("block", "text"), TEXTS.values(), ids=TEXTS.keys())
def test_the_text_of_a_reply_is_kept_whatever_block_holds_it(block: Any, text: str) -> None:
    message = reply(block, TEXT)
    assert seen(message) == [("assistant", f"{text}It is 5.")]
    assert unsupported_content([message]) == []


@pytest.mark.parametrize(("kind", "block"), MISSED.items(), ids=MISSED.keys())
def test_what_a_reader_saw_is_left_out_and_named(kind: str, block: dict[str, Any]) -> None:
    pair = ChatSpeculativeThinking(speculative=ScriptedBackend("Yes."), target=ScriptedBackend("No."))
    message = pair.invoke([HumanMessage("hi"), reply(TEXT, block), HumanMessage("Sure?")])
    assert message.response_metadata["speculative_thinking"]["degraded"] == [
        f"the models read only text, so a block of type {kind!r} in an earlier reply was left out"
    ]


@pytest.mark.parametrize("role", [HumanMessage, SystemMessage])
@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "input_text", "text": "hi"}, "hi"),
        ({"type": "text-plain", "text": "hi"}, "hi"),
        ({"type": "text"}, ""),
        ({"type": "non_standard", "value": {"type": "input_text", "text": "hi"}}, "hi"),
        ({"cachePoint": {"type": "default"}}, ""),
    ],
    ids=["input_text", "text-plain", "a text block without text", "a wrapped text", "a mark of Amazon's prompt cache"],
)
def test_the_texts_of_people_may_have_any_of_the_usual_forms(role: Any, block: dict[str, Any], text: str) -> None:
    assert [content for _, content in seen(role([block]))] == [text]


@pytest.mark.parametrize(
    "block",
    [
        *MISSED.values(),
        {"type": "refusal", "refusal": "x"},
        {"type": "audio", "transcript": "x"},
        INTERNAL["code that Google runs"],
    ],
    ids=lambda block: str(block.get("type")),
)
@pytest.mark.parametrize(
    "message", [HumanMessage, SystemMessage, lambda content: ToolMessage(content, tool_call_id="1")]
)
def test_other_content_of_people_and_tools_is_refused(message: Any, block: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"got a block of type {block.get('type')!r}"):
        history_of([message([TEXT, block])])


@pytest.mark.parametrize(
    ("extra", "text"),
    [({"refusal": "I will not."}, "I will not."), ({"audio": {"id": "a", "transcript": "Five."}}, "Five."), ({}, "")],
    ids=["a refusal", "speech", "nothing"],
)
def test_text_beside_the_content_is_kept_if_the_content_is_empty(extra: dict[str, Any], text: str) -> None:
    assert seen(AIMessage("", additional_kwargs=extra)) == [("assistant", text)]
    assert seen(AIMessage("It is 5.", additional_kwargs=extra)) == [("assistant", "It is 5.")]


THOUGHTS: dict[str, tuple[str, str]] = {
    "a thought between tags": ("<think>\nHm.\n</think>\n\nFive.", "Five."),
    "a thought on one line": (" <think>Hm.</think>Five.", "Five."),
    "two thoughts": ("<think>Hm.</think>\n<think>\nSo.\n</think>\n\nFive.", "Five."),
    "a thought that was cut off": ("<think>\nHm, 2 and 3", ""),
    "a thought whose opening tag the template wrote": ("Hm.\n</think>\n\nFive.", "Five."),
    "a closing tag at the end of a sentence": ("Hm.</think>\n\nFive.", "Five."),
    "a thought that begins in lower case": ("<think> let me see.\n</think>\n\nFive.", "Five."),
    "a thought in one line": ("<think> it is 5, ok</think>\n\nFive.", "Five."),
    "a thought and nothing else": ("Hm.\n</think>", ""),
    "an answer about tags": ("The model writes <think> and </think>.\n\nThen it answers.",) * 2,
    "an answer about the closing tag": ("Look for `</think>` in the text.\n\nThen cut it.",) * 2,
    "an answer with tags on their own lines": ("Write this:\n<think>\nHm.\n</think>\n\nThat is all.",) * 2,
    "a tag in a code block": ("Write this:\n```\n</think>\n```\nThat is all.",) * 2,
    "a closing tag in a sentence": ("Every thought ends with </think>\n\nAfter it comes the answer.",) * 2,
    "an opening tag in a sentence": ("<think> opens a thought.\n\nThen the model thinks.",) * 2,
    "both tags in a sentence": ("<think> and </think> mark a thought.",) * 2,
    "a closing tag after a quotation": ('So "it is five."</think>\n\nFive.', "Five."),
    "a closing tag after a Chinese sentence": ("是五。</think>\n\n五。", "五。"),
}
ABOUT_TAGS = "Five. It ends so.</think>\n\nAfter it comes the answer."
"""A text that would be taken for a thought and an answer if no one knew where its thought is."""
SEPARATE: dict[str, AIMessage] = {
    "a reply of a pair": AIMessage(ABOUT_TAGS, response_metadata={"speculative_thinking": {}}),
    "a reasoning block": AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": ABOUT_TAGS}]),
    "a thinking block": AIMessage([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": ABOUT_TAGS}]),
    "a reasoning field": AIMessage(ABOUT_TAGS, additional_kwargs={"reasoning_content": "Hm."}),
}


@pytest.mark.parametrize("message", SEPARATE.values(), ids=SEPARATE.keys())
def test_tags_in_an_answer_whose_thought_is_elsewhere_are_text(message: AIMessage) -> None:
    assert seen(message) == [("assistant", ABOUT_TAGS)]
    assert seen(AIMessage(ABOUT_TAGS)) == [("assistant", "After it comes the answer.")]


def test_an_answer_of_a_pair_about_tags_stays_in_the_next_turn() -> None:
    says = "<think> opens a thought. Every thought ends so.</think>\n\nAfter it comes the answer."
    small = ScriptedBackend(f"Hm.</think>\n\n{says}", thinks=True)
    message = ChatSpeculativeThinking(speculative=small, target=ScriptedBackend()).invoke("How do tags work?")
    assert message.text == says
    assert seen(message) == [("assistant", says)]


@pytest.mark.parametrize(("content", "text"), THOUGHTS.values(), ids=THOUGHTS.keys())
def test_an_inline_thought_of_an_old_turn_is_left_out_like_a_block(content: str, text: str) -> None:
    assert seen(AIMessage(content)) == [("assistant", text)]
    assert seen(reply({"type": "text", "text": content[:9]}, content[9:])) == [("assistant", text)]
    assert seen(ChatMessage(content=content, role="assistant")) == [("assistant", text)]
    assert seen(HumanMessage(content)) == [("user", content)]


def calls(message: Message) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in message.tool_calls]


def test_function_calls_of_old_threads_become_tool_calls() -> None:
    called = {"function_call": {"name": "add", "arguments": '{"a": 2}'}}
    messages = [
        HumanMessage("2 + 3?"),
        AIMessage("", additional_kwargs=called),
        FunctionMessage(content="5", name="add"),
        AIMessage("", additional_kwargs=called),
        FunctionMessage(content="6", name="add"),
    ]
    _, first, five, second, six = history_of(messages)
    assert calls(first) == calls(second) == [("add", '{"a": 2}')]
    assert [(found.role, found.content, found.name) for found in (five, six)] == [
        ("tool", "5", "add"),
        ("tool", "6", "add"),
    ]
    assert [five.tool_call_id, six.tool_call_id] == [first.tool_calls[0].id, second.tool_calls[0].id]
    assert first.tool_calls[0].id != second.tool_calls[0].id
    message = ChatSpeculativeThinking(speculative=ScriptedBackend("Six."), target=ScriptedBackend()).invoke(messages)
    assert message.text == "Six."
    assert message.response_metadata["speculative_thinking"]["degraded"] == []


@pytest.mark.parametrize("called", [None, "add", [], {}], ids=repr)
def test_a_field_that_holds_no_function_call_is_left_out(called: Any) -> None:
    assert seen(AIMessage("hi", additional_kwargs={"function_call": called})) == [("assistant", "hi")]


def test_a_call_with_parsed_arguments_is_not_repeated() -> None:
    call = {"name": "add", "args": {"a": 2}, "id": "c1"}
    kept: Any = {"function_call": {"name": "add", "arguments": "{}"}}
    [message] = history_of([AIMessage("", tool_calls=[call], additional_kwargs=kept)])
    assert calls(message) == [("add", json.dumps(call["args"]))]


def test_a_message_that_removes_another_is_left_out_and_named() -> None:
    messages = [HumanMessage("hi", id="1"), RemoveMessage(id="1"), HumanMessage("again")]
    assert seen(*messages) == [("user", "hi"), ("user", "again")]
    assert [words[:15] for words in unsupported_content(messages)] == ["a RemoveMessage"]
    with pytest.raises(ValueError, match="at least one message"):
        history_of([RemoveMessage(id="1")])


BLOCKS = st.dictionaries(
    st.sampled_from(["type", "text", "value", "content", "refusal", "transcript"]),
    st.recursive(
        st.none()
        | st.integers()
        | st.sampled_from(["text", "non_standard", "refusal", "compaction", "audio", "x_call", "image"]),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text"]), inner, max_size=2)
        ),
        max_leaves=4,
    ),
    max_size=4,
)


@given(st.lists(BLOCKS, max_size=4))
def test_no_reply_makes_a_conversation_unusable(blocks: list[dict[str, Any]]) -> None:
    message = AIMessage("It is 5.").model_copy(update={"content": [*blocks, TEXT]})
    [(_, text)] = seen(message)
    assert text.endswith("It is 5.")
    unsupported_content([message])

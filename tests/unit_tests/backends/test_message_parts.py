"""The places in which vendors put the reasoning and the text of a message, and parts that are neither."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.replies.message_parts import (
    MessageParts,
    UnknownParts,
    content_parts,
    reasoning_text,
)
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends.test_chat_model import Plain
from tests.unit_tests.wire import Server, delta, sse

TEXT = {"type": "text", "text": "Five."}
LISTED = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
PLACES = [
    pytest.param({"reasoning": "Hm.", "content": "Five."}, id="vLLM: reasoning"),
    pytest.param({"reasoning_content": "Hm.", "content": "Five."}, id="DeepSeek: reasoning_content"),
    pytest.param(
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}], "content": "Five."}, id="reasoning_details"
    ),
    pytest.param(
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}], "content": "Five."}, id="a summary"
    ),
    pytest.param(
        {"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}], "content": "Five."},
        id="OpenRouter: both",
    ),
    pytest.param({"content": [LISTED, TEXT]}, id="Databricks: a list part"),
    pytest.param({"content": [{"type": "thinking", "thinking": "Hm."}, TEXT]}, id="Anthropic: a string"),
    pytest.param(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, TEXT]}, id="Mistral: a list"
    ),
    pytest.param(
        {"content": [{"type": "reasoning_content", "reasoning_content": {"text": "Hm."}}, TEXT]}, id="Bedrock"
    ),
    pytest.param({"reasoning": "Hm.", "content": [{"text": "Five."}]}, id="Bedrock: a text without a type"),
    pytest.param(
        {"reasoning": "Hm.", "content": [{"type": "text", "annotations": [{"type": "url"}], "index": 0}, TEXT]},
        id="langchain-openai: annotations without text",
    ),
    pytest.param(
        {"reasoning": "Hm.", "content": [TEXT, {"type": "text", "citations": [{}], "text": None, "index": 0}]},
        id="langchain-anthropic: citations without text",
    ),
    pytest.param(
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}, {"text": "Hm."}], "content": "Five."},
        id="an encrypted part beside it",
    ),
]


def as_chat_model(fields: dict[str, Any]) -> ChatModelBackend:
    content = fields["content"]
    return ChatModelBackend(
        Plain(says={"content": content, "additional_kwargs": {k: v for k, v in fields.items() if k != "content"}})
    )


def as_server(fields: dict[str, Any]) -> Any:
    stream = sse(delta(**{**fields, "content": None}), delta("stop", content=fields["content"]))
    return Server(stream).backend(tokenizer=None, continuation="chat_flag")


CONNECTED = pytest.mark.parametrize("connect", [as_server, as_chat_model], ids=["a server", "a chat model"])


@pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
@CONNECTED
@pytest.mark.parametrize("fields", PLACES)
async def test_reasoning_is_found_in_every_place(connect: Any, fields: dict[str, Any], asynchronously: bool) -> None:
    pair = ChatSpeculativeThinking(speculative=connect(fields), target=ScriptedBackend())
    message: Any = await pair.ainvoke("2 + 3?") if asynchronously else pair.invoke("2 + 3?")
    blocks = "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
    assert (blocks.strip(), message.text) == ("Hm.", "Five.")
    assert message.response_metadata["speculative_thinking"]["degraded"] == []


@CONNECTED
def test_a_part_of_an_unknown_type_is_reported(connect: Any) -> None:
    fields = {"content": [{"type": "image_url", "image_url": {}}, TEXT, {"type": "image_url"}, {"type": "sound"}]}
    message = ChatSpeculativeThinking(speculative=connect(fields), target=ScriptedBackend()).invoke("2 + 3?")
    said = message.response_metadata["speculative_thinking"]["degraded"]
    assert message.text == "Five."
    assert ["'image_url'" in said[0], "'sound'" in said[1], len(said)] == [True, True, 2]


def test_an_unknown_type_is_noted_once() -> None:
    parts = UnknownParts()
    assert len(parts.notes(content_parts([{"type": "a"}, {"type": "b"}, {"type": "a"}]).unknown)) == 2
    assert parts.notes(["a"]) == []


@pytest.mark.parametrize("part", ["tool_use", "input_json_delta", "function_call", "redacted_thinking"])
def test_parts_that_are_also_elsewhere_are_known(part: str) -> None:
    assert content_parts([{"type": part}, "Five."]) == MessageParts("", "Five.")


@pytest.mark.parametrize("value", [7, True, [7], {"text": 7}, [{"thinking": [7]}]], ids=repr)
def test_reasoning_of_another_form_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError, match="reasoning: expected text, got"):
        reasoning_text(value)


@pytest.mark.parametrize("value", [7, {"type": "text"}, [7], [None], [{"text": 7}], [TEXT | {"text": []}]], ids=repr)
def test_content_of_another_form_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError, match="content: expected"):
        content_parts(value)

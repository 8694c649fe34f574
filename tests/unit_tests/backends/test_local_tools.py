"""Tools and schemas on local models, with random weights, real tokenizers and real grammars."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from langchain_spec_thinking import ChatSpeculativeThinking, HuggingFaceBackend
from langchain_spec_thinking.backends.local.model import LocalModel
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.messages import history_of
from langchain_spec_thinking.tools import Tools
from langchain_spec_thinking.turn import Turn
from tests.unit_tests.backends import tiny

QWEN = (
    "{% if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|end|>{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>{% endfor %}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
ADD: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds <|end|>",
        "parameters": {
            "type": "object",
            "properties": {"a": {"enum": [1, 2, 3]}, "how": {"enum": ["exactly", "about"]}},
            "required": ["a", "how"],
            "additionalProperties": False,
        },
    },
}
HISTORY = [
    HumanMessage("1 + 2?"),
    AIMessage("I add.", tool_calls=[{"name": "add", "args": {"a": 1, "how": "about"}, "id": "c1"}]),
    ToolMessage("3 <|end|>", tool_call_id="c1"),
    ToolMessage("4", tool_call_id="c1"),
]


def turn(template: str, choice: str = "auto") -> tuple[ChatTemplate, Turn]:
    tools = Tools((ADD,), choice)
    return ChatTemplate(tiny.byte_tokenizer(template)), Turn(history_of(HISTORY), tools=tools)


def roomy(tokenizer: Any) -> HuggingFaceBackend:
    """Return a backend whose context is large enough for a description of tools, letter by letter."""
    return HuggingFaceBackend(tiny.llama(vocabulary=len(tokenizer), context=4096), tokenizer)


def test_a_template_with_tools_gets_them() -> None:
    template, half = turn(QWEN)
    shown = template.prompt_text(half).replace("\u200b", "")
    assert shown.startswith(f"<|system|>{json.dumps(ADD)}<|end|><|user|>1 + 2?<|end|><|assistant|>I add.<tool_call>")
    assert '{"name": "add", "arguments": {"a": 1, "how": "about"}}' in shown
    assert "<|tool|>3 <|end|><|end|><|tool|>4<|end|><|assistant|>" in shown
    ids = template.prompt_ids(half)
    ends: Any = template.tokenizer.convert_tokens_to_ids("<|end|>")
    assert ids.count(ends) == 5  # without those that a tool's description or result quotes


def test_without_tools_in_the_template_the_prompt_describes_them() -> None:
    template, half = turn(tiny.TEMPLATE)
    shown = template.prompt_text(half).replace("\u200b", "")
    assert shown.startswith("<|system|># Tools")
    assert "<tool_call>\n" in shown.split("<|user|>")[0]
    assert "<|assistant|>I add.\n<tool_call>" in shown
    assert shown.count("<|user|>") == 2  # consecutive results are one message, because roles must alternate
    assert "<tool_response>\n3 <|end|>\n</tool_response>\n<tool_response>\n4\n</tool_response>" in shown
    assert "Tools" not in turn(tiny.TEMPLATE, "none")[0].prompt_text(turn(tiny.TEMPLATE, "none")[1])


XML = QWEN.replace(
    "{{ call.function | tojson }}",
    "<function={{ call.function.name }}>\n{% for name, value in call.function.arguments | items %}"
    "<parameter={{ name }}>\n{{ value }}\n</parameter>\n{% endfor %}</function>",
)


@pytest.mark.parametrize("template", [tiny.TEMPLATE, QWEN, XML, tiny.THINKING_TEMPLATE])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_required_call_follows_its_schema(template: str, seed: int) -> None:
    """Even a model with random weights writes a valid call."""
    backend, limit = roomy(tiny.byte_tokenizer(template)), 200 if template == XML else 60
    pair = ChatSpeculativeThinking(
        speculative=backend, target=backend, temperature=1, seed=seed, max_tokens=limit, think_before_tools=False
    )
    message = pair.bind_tools([ADD], tool_choice="add").invoke("1 + 2?")
    [call] = message.tool_calls
    assert call["name"] == "add"
    assert call["args"]["a"] in {1, 2, 3}
    assert call["args"]["how"] in {"exactly", "about"}
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert message.text == ""


def test_an_unknown_token_is_not_shown_as_a_mark() -> None:
    """Tokenizers give marks that are not in their vocabulary the id of the unknown token."""
    tokenizer: Any = deepcopy(tiny.piece_tokenizer())
    tokenizer.unk_token = "<unk>"  # noqa: S105 - a token of text, not a password
    template, half = ChatTemplate(tokenizer), Turn(history_of(HISTORY[:1]))
    assert tokenizer.convert_tokens_to_ids("</tool_call>") == tokenizer.unk_token_id
    cache = LocalModel.of(tiny.llama(vocabulary=len(tokenizer))).turn_cache(half, template)
    assert not cache.append(tokenizer.unk_token_id)


TREE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "plant",
        "description": "Plants a tree",
        "parameters": {
            "type": "object",
            "properties": {"tree": {"$ref": "#/$defs/tree"}},
            "required": ["tree"],
            "additionalProperties": False,
            "$defs": {
                "tree": {
                    "type": "object",
                    "properties": {"leaf": {"enum": [1, 2]}},
                    "required": ["leaf"],
                    "additionalProperties": False,
                }
            },
        },
    },
}


@pytest.mark.parametrize("template", [tiny.TEMPLATE, QWEN, XML, f"{QWEN}{{# [TOOL_CALLS] #}}"])
def test_a_required_call_of_any_tool_follows_its_schema(template: str) -> None:
    """Even a model with random weights writes a valid call of one of the tools."""
    backend, limit = roomy(tiny.byte_tokenizer(template)), 200 if template == XML else 80
    pair = ChatSpeculativeThinking(
        speculative=backend, target=backend, temperature=1, max_tokens=limit, think_before_tools=False
    )
    arguments = {}
    for seed in range(8):
        message = pair.bind_tools([ADD, TREE], tool_choice="any").invoke("1 + 2?", seed=seed)
        [call] = message.tool_calls
        arguments[call["name"]] = call["args"]
        assert message.text == ""
    assert arguments.keys() == {"add", "plant"}
    assert arguments["add"]["how"] in {"exactly", "about"}
    assert arguments["plant"] in [{"tree": {"leaf": 1}}, {"tree": {"leaf": 2}}]


class Verdict(BaseModel):
    """What to say."""

    answer: Literal["yes", "no"]
    sure: bool


@pytest.mark.parametrize("tokenizer", [tiny.byte_tokenizer(), tiny.piece_tokenizer()])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_follows_its_schema(tokenizer: Any, method: Any) -> None:
    backend = roomy(tokenizer)
    pair = ChatSpeculativeThinking(speculative=backend, target=backend, temperature=1, seed=1, max_tokens=80)
    assert isinstance(pair.with_structured_output(Verdict, method=method).invoke("Is it?"), Verdict)


def test_a_json_answer_is_an_object() -> None:
    backend = roomy(tiny.byte_tokenizer())
    pair = ChatSpeculativeThinking(speculative=backend, target=backend, temperature=0, max_tokens=80)
    message = pair.invoke("Is it?", response_format={"type": "json_object"})
    assert message.text.startswith("{")

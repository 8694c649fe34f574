"""What only llama.cpp's own server offers: its context per slot, its chat endpoint with tools, and its grammar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel
from transformers import AutoTokenizer

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import End, Piece, Request
from langchain_spec_thinking.turn import Message, Turn
from tests.integration_tests.conftest import LARGE, SMALL
from tests.integration_tests.servers import ENGINES

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_spec_thinking import OpenAIBackend
    from tests.integration_tests.servers import Server, Servers

SLOT = 4096
"""Context of one of the two slots, in tokens."""
THINKING = r"""
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.role == 'assistant' and message.reasoning_content %}
        {{- '<think>\n' + message.reasoning_content + '\n</think>\n\n' }}
    {%- endif %}
    {{- message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n<think>\n' }}
{%- endif %}"""
"""Chat template of a model that reasons. SmolLM2 does not reason, but it counts on within a thought."""
RENDERED = "<|im_start|>user\nCount from 1 to 60.<|im_end|>\n<|im_start|>assistant\n<think>\n1, 2, 3, 4,"


class City(BaseModel):
    """A city."""

    name: str
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"{city}: sunny"


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    return servers.get("llama-server", LARGE)


@pytest.fixture
def chat(server: Server) -> OpenAIBackend:
    """A backend without a tokenizer: the server renders the prompt."""
    return server.backend(tokenizer=None)


def answering(backend: OpenAIBackend) -> ChatSpeculativeThinking:
    return ChatSpeculativeThinking(
        speculative=backend, target=backend, policy=DelegationPolicy.gated(), temperature=0, max_tokens=100
    )


def test_the_context_is_that_of_a_slot(chat: OpenAIBackend) -> None:
    list(chat.continue_turn(Turn((Message("user", "Hi."),)), Request(1, temperature=0)))
    assert chat.capabilities.context == SLOT


def test_the_server_parses_calls(chat: OpenAIBackend) -> None:
    message = answering(chat).bind_tools([get_weather]).invoke("What is the weather in Paris? Use the tool.")
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert message.invalid_tool_calls == []


def city(backend: OpenAIBackend, method: Any, question: str) -> object:
    """Return the parsed city. If there is none, say what the model wrote."""
    model = answering(backend).with_structured_output(City, method=method, include_raw=True)
    answer = model.invoke(question)
    assert isinstance(answer, dict)
    return answer["parsed"] or answer["raw"]


def test_the_grammar_gives_a_form(chat: OpenAIBackend) -> None:
    paris = City(name="Paris", continent="Europe")
    assert city(chat, "json_schema", "Which continent is the city of Paris on?") == paris


def test_a_required_call_is_read_from_the_text(chat: OpenAIBackend) -> None:
    """The server does not enforce the call of a certain tool, so the question asks for the call.

    Without these words, two names of a tool are almost equally likely. Then rounding may decide, which depends on how
    much of the prompt is in the server's cache.
    """
    question = (
        'Use the tool City: the name is Paris, the continent is Europe. Write only the call. Begin with {"name": "City"'
    )
    assert city(chat, "function_calling", question) == City(name="Paris", continent="Europe")


@pytest.mark.parametrize("closing", ["", "\n</think>\n\n"], ids=["open", "closed"])
def test_a_thought_is_continued_in_its_field(servers: Servers, tmp_path: Path, closing: str) -> None:
    """The server gets the thought in `reasoning_content`. The model goes on with it, or with the answer after it."""
    template = tmp_path / "template.jinja"
    template.write_text(THINKING, encoding="utf-8")
    engine = replace(
        ENGINES["llama-server"], command=f"{ENGINES['llama-server'].command} --chat-template-file {template}"
    )
    turn = Turn((Message("user", "Count from 1 to 60."),), thinks=True)
    turn.append("speculative", "1, 2, 3, 4,")
    turn.closing = closing
    with servers.serving(engine, SMALL) as server:
        backend = server.backend(tokenizer=None, thinking=True)
        events = list(backend.continue_turn(turn, Request(12, temperature=0)))
        tokenizer = AutoTokenizer.from_pretrained(server.tokenizer)
    assert backend.describe()["continuation"] == "chat_flag"
    text = "".join(event.text for event in events if isinstance(event, Piece))
    assert text.startswith(" 5, 6, 7,") is not bool(closing)
    assert isinstance(events[-1], End)
    assert events[-1].usage
    rendered = RENDERED + closing
    assert events[-1].usage.prompt_tokens == len(tokenizer.encode(rendered))

"""Our replies in the requests of other providers' chat models: these hold only what the providers' APIs document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_mistralai import ChatMistralAI
from langchain_openai import ChatOpenAI

from langchain_spec_thinking import without_reasoning
from tests.unit_tests import test_chat_models as scripted
from tests.unit_tests import tool_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

KEY: Any = "x"  # the types of the constructors name only SecretStr, and all accept a string
ANSWER = "It is 5, STOP, I say."
ARGUMENTS = {"item": "tea"}


def chat_completions(messages: list[BaseMessage]) -> list[Any]:
    model = ChatOpenAI(model="gpt-4.1", api_key=KEY)
    return model._get_request_payload(messages)["messages"]  # type: ignore[no-any-return] # noqa: SLF001 - without a server


def responses(messages: list[BaseMessage], **settings: Any) -> list[Any]:
    model = ChatOpenAI(model="gpt-5", api_key=KEY, use_responses_api=True, **settings)
    return model._get_request_payload(messages)["input"]  # type: ignore[no-any-return] # noqa: SLF001 - as above


def stateless_responses(messages: list[BaseMessage]) -> list[Any]:
    return responses(messages, store=False)


def anthropic(messages: list[BaseMessage]) -> list[Any]:
    model: Any = ChatAnthropic(model="claude-sonnet-4-5", api_key=KEY)  # type: ignore[call-arg] # mypy sees other names
    return model._get_request_payload(messages)["messages"]  # type: ignore[no-any-return] # noqa: SLF001 - as above


def google(messages: list[BaseMessage]) -> list[Any]:
    model: Any = ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key=KEY)
    contents = model._prepare_request(messages)["contents"]  # noqa: SLF001 - as above
    return [content.model_dump(exclude_none=True) for content in contents]


def mistral(messages: list[BaseMessage]) -> list[Any]:
    model = ChatMistralAI(api_key=KEY)
    sent: list[Any] = model._create_message_dicts(without_reasoning(messages), None)[0]  # noqa: SLF001 - as above
    for call in sent[1].get("tool_calls", []):
        assert len(call.pop("id")) == 9  # Mistral's ids are shorter, so the class makes its own
    if isinstance(sent[1]["content"], list):  # Mistral accepts a text and a list of texts
        assert all(part.keys() == {"type", "text"} and part["type"] == "text" for part in sent[1]["content"])
        sent[1]["content"] = "".join(part["text"] for part in sent[1]["content"])
    return sent


def openai_call(call: str) -> dict[str, Any]:
    return {"type": "function", "id": call, "function": {"name": "price", "arguments": ARGUMENTS}}


def parsed(content: Any) -> Any:
    """Parse the arguments of calls, whose white space differs."""
    if isinstance(content, dict):
        items = content.items()
        return {key: json.loads(value) if key == "arguments" else parsed(value) for key, value in items}
    return [parsed(part) for part in content] if isinstance(content, list) else content


OUTPUT_TEXT = {"type": "output_text", "text": ANSWER, "annotations": []}
RESPONSES_ANSWER = [{"type": "message", "role": "assistant", "content": [OUTPUT_TEXT]}]


def responses_call(call: str) -> list[Any]:
    return [{"type": "function_call", "call_id": call, "name": "price", "arguments": ARGUMENTS}]


# The request of each model, and what it holds of a reply with an answer, and of a reply with a call that has some id.
REQUESTS: dict[str, tuple[Callable[..., list[Any]], list[Any], Callable[[str], list[Any]]]] = {
    "Chat Completions of ChatOpenAI": (
        chat_completions,
        [{"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}],
        lambda call: [{"role": "assistant", "content": None, "tool_calls": [openai_call(call)]}],
    ),
    "Responses of ChatOpenAI": (responses, RESPONSES_ANSWER, responses_call),
    "Responses of ChatOpenAI without storage": (stateless_responses, RESPONSES_ANSWER, responses_call),
    "ChatAnthropic": (
        anthropic,
        [{"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}],
        lambda call: [
            {"role": "assistant", "content": [{"type": "tool_use", "id": call, "name": "price", "input": ARGUMENTS}]}
        ],
    ),
    "ChatGoogleGenerativeAI": (
        google,
        [{"role": "model", "parts": [{"text": ANSWER}]}],
        lambda _: [{"role": "model", "parts": [{"function_call": {"name": "price", "args": ARGUMENTS}}]}],
    ),
    "ChatMistralAI, without reasoning": (
        mistral,
        [{"role": "assistant", "content": ANSWER}],
        lambda _: [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "price", "arguments": ARGUMENTS}}],
            }
        ],
    ),
}


def saved(message: AIMessage) -> AIMessage:
    return loads(dumps(message), allowed_objects="messages")  # type: ignore[no-any-return]


def replies(model: Any, question: str) -> list[AIMessage]:
    """Return the reply to a question in the forms in which a history may hold it."""
    whole = model.invoke(question)
    return [whole, scripted.merged(model.stream(question)), saved(whole)]


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize(("request_of", "answer", "call"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_of_another_model_holds_our_answers_and_calls_and_nothing_else(
    request_of: Callable[[list[BaseMessage]], list[Any]],
    answer: list[Any],
    call: Callable[[str], list[Any]],
    output_version: str,
) -> None:
    for reply in replies(scripted.pair(output_version=output_version), "2 + 3?"):
        assert request_of([HumanMessage("2 + 3?"), reply, HumanMessage("Sure?")])[1:-1] == answer
    model = tool_task.pair(output_version=output_version).bind_tools(tool_task.TOOLS)
    for reply in replies(model, "Order tea."):
        [called] = reply.tool_calls
        result = ToolMessage("3.5", tool_call_id=called["id"], name="price")
        found = request_of([HumanMessage("Order tea."), reply, result])[1:-1]
        assert parsed(found) == call(str(called["id"]))


def test_reasoning_blocks_say_who_wrote_them_also_after_saving() -> None:
    reply = saved(scripted.pair().invoke("2 + 3?"))
    found = [block.get("extras", {}) for block in reply.content_blocks if block["type"] == "reasoning"]
    assert [(extras["author"], extras["kind"]) for extras in found] == [
        ("speculative", "draft"),
        ("target", "reflection"),
        ("speculative", "draft"),
    ]


def test_only_our_own_replies_lose_their_reasoning() -> None:
    other = AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Five."}])
    ours = scripted.pair().invoke("2 + 3?")
    question = HumanMessage("2 + 3?")
    assert without_reasoning([question, other, ours])[:2] == [question, other]
    [plain] = without_reasoning([ours])
    assert plain.content == ANSWER
    assert plain.response_metadata == ours.response_metadata
    assert isinstance(ours.content, list)  # the message itself does not change

"""LiteLLM, through both APIs."""

from __future__ import annotations

from typing import Any

import litellm

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, TOKENS, URL, Choice, report

SERVER: Any = {"model": f"openai/{MODEL}", "api_base": URL, "api_key": KEY}
SCHEMA = Choice.model_json_schema()
MESSAGES = [{"role": "user", "content": QUESTION}]


def chat() -> dict[str, Any]:
    """Ask through chat completions."""
    message = litellm.completion(**SERVER, messages=MESSAGES).choices[0].message
    deltas = [chunk.choices[0].delta for chunk in litellm.completion(**SERVER, messages=MESSAGES, stream=True)]
    tool = {"type": "function", "function": {"name": "choose", "parameters": SCHEMA}}
    short: Any = {**SERVER, "messages": MESSAGES, "max_tokens": TOKENS}
    called = litellm.completion(**short, tools=[tool], tool_choice="required").choices[0].message
    chosen = litellm.completion(**short, response_format=Choice).choices[0].message
    return {
        "answer": message.content,
        "thought": message.reasoning_content,
        "pieces": [delta.content for delta in deltas if delta.content],
        "called": called.tool_calls[0].function.arguments,
        "chosen": Choice.model_validate_json(chosen.content).colour,
    }


def responses() -> dict[str, Any]:
    """Ask through the Responses API."""
    reply = litellm.responses(**SERVER, input=QUESTION)
    events = [*litellm.responses(**SERVER, input=QUESTION, stream=True)]
    tool = {"type": "function", "name": "choose", "parameters": SCHEMA}
    called = litellm.responses(**SERVER, input=QUESTION, tools=[tool], tool_choice="required", max_output_tokens=TOKENS)
    return {
        "answer": reply.output[-1].content[0].text,
        "thought": reply.output[0].summary[0].text,
        "pieces": [event.delta for event in events if event.type == "response.output_text.delta"],
        "called": called.output[-1].arguments,
    }


report(chat=chat(), responses=responses())

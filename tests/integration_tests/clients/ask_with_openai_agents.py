"""openai-agents, through the Responses API, which is its default."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Agent, ModelSettings, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, TOKENS, URL, Choice, choose, report

set_default_openai_client(AsyncOpenAI(base_url=URL, api_key=KEY), use_for_tracing=False)
set_tracing_disabled(disabled=True)


async def ask() -> dict[str, Any]:
    """Ask for an answer, for a stream, for a call, and for a structured answer."""
    plain = Agent(name="Plain", model=MODEL)
    answer = await Runner.run(plain, QUESTION)
    streamed = Runner.run_streamed(plain, QUESTION)
    events = [event.data async for event in streamed.stream_events() if event.type == "raw_response_event"]
    settings = ModelSettings(tool_choice="required", max_tokens=TOKENS)
    # The pocket pair has no sensible answer to the result of a tool.
    caller = Agent(
        name="Caller",
        model=MODEL,
        tools=[function_tool(choose)],
        model_settings=settings,
        tool_use_behavior="stop_on_first_tool",
    )
    called = await Runner.run(caller, QUESTION)
    chooser = Agent(name="Chooser", model=MODEL, output_type=Choice, model_settings=ModelSettings(max_tokens=TOKENS))
    chosen = await Runner.run(chooser, QUESTION)
    return {
        "answer": answer.final_output,
        "thought": answer.new_items[0].raw_item.summary[0].text,
        "pieces": [event.delta for event in events if event.type == "response.output_text.delta"],
        "final": streamed.final_output,
        "called": next(item.raw_item.arguments for item in called.new_items if item.type == "tool_call_item"),
        "result": next(item.output for item in called.new_items if item.type == "tool_call_output_item"),
        "chosen": chosen.final_output.colour,
    }


report(responses=asyncio.run(ask()))

"""pydantic-ai, through both APIs."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, TOKENS, URL, Choice, choose, report

PROVIDER = OpenAIProvider(base_url=URL, api_key=KEY)
SHORT: Any = {"max_tokens": TOKENS}


async def ask(model: Any) -> dict[str, Any]:
    """Ask for an answer, for a stream, for a call, and for a structured answer."""
    plain = Agent(model)
    answer = await plain.run(QUESTION)
    async with plain.run_stream(QUESTION) as streamed:
        pieces = [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]
    called = await Agent(model, output_type=ToolOutput(choose), model_settings=SHORT).run(QUESTION)
    chosen = await Agent(model, output_type=NativeOutput(Choice), model_settings=SHORT).run(QUESTION)
    parts = answer.all_messages()[-1].parts
    return {
        "answer": answer.output,
        "thought": "".join(part.content for part in parts if part.part_kind == "thinking"),
        "pieces": pieces,
        "result": called.output,
        "chosen": chosen.output.colour,
    }


async def main() -> None:
    """Ask through both APIs."""
    chat, responses = (kind(MODEL, provider=PROVIDER) for kind in (OpenAIChatModel, OpenAIResponsesModel))
    report(chat=await ask(chat), responses=await ask(responses))


asyncio.run(main())

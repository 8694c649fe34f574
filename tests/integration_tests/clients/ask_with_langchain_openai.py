"""LangChain's `ChatOpenAI`, through both APIs."""

from __future__ import annotations

from typing import Any

from langchain_openai import ChatOpenAI

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, TOKENS, URL, Choice, choose, report


def ask(*, use_responses_api: bool) -> dict[str, Any]:
    """Ask through one API."""
    settings: dict[str, Any] = {"api_key": KEY, "base_url": URL, "use_responses_api": use_responses_api}
    model = ChatOpenAI(model=MODEL, **settings)
    limit: dict[str, Any] = {"max_tokens": TOKENS}
    message = model.invoke(QUESTION)
    short = ChatOpenAI(model=MODEL, **settings, **limit)
    called: Any = short.bind_tools([choose], tool_choice="any").invoke(QUESTION)
    chosen: Any = short.with_structured_output(Choice, method="json_schema").invoke(QUESTION)
    thought = "".join(str(block.get("reasoning", "")) for block in message.content_blocks)
    return {
        "answer": message.text,
        "pieces": [chunk.text for chunk in model.stream(QUESTION) if chunk.text],
        **({"thought": thought} if use_responses_api else {}),  # it reads no thoughts of chat completions
        "called": called.tool_calls[0]["args"],
        "chosen": chosen.colour,
    }


report(chat=ask(use_responses_api=False), responses=ask(use_responses_api=True))

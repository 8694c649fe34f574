"""instructor, through both APIs."""

from __future__ import annotations

from typing import Any

import instructor
from openai import OpenAI

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, TOKENS, URL, Choice, report

MESSAGES: Any = [{"role": "user", "content": QUESTION}]


def ask(mode: instructor.Mode, **limit: int) -> str:
    """Ask for a colour in one way."""
    client = instructor.from_openai(OpenAI(base_url=URL, api_key=KEY), mode=mode)
    chosen = client.chat.completions.create(model=MODEL, messages=MESSAGES, response_model=Choice, **limit)
    return str(chosen.colour)


report(
    chat={
        "called": {"colour": ask(instructor.Mode.TOOLS, max_tokens=TOKENS)},
        "chosen": ask(instructor.Mode.JSON_SCHEMA, max_tokens=TOKENS),
    },
    responses={"called": {"colour": ask(instructor.Mode.RESPONSES_TOOLS, max_output_tokens=TOKENS)}},
)

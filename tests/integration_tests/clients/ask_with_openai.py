"""OpenAI's SDK, through both APIs."""

from __future__ import annotations

from typing import Any

from openai import OpenAI, pydantic_function_tool

from tests.integration_tests.clients.asked import KEY, MODEL, QUESTION, TOKENS, URL, Choice, report

client = OpenAI(base_url=URL, api_key=KEY)
TOOL: Any = pydantic_function_tool(Choice, name="choose")


def chat() -> dict[str, Any]:
    """Ask through chat completions."""
    messages: Any = [{"role": "user", "content": QUESTION}]
    asking = client.chat.completions
    message: Any = asking.create(model=MODEL, messages=messages).choices[0].message
    deltas = [chunk.choices[0].delta for chunk in asking.create(model=MODEL, messages=messages, stream=True)]
    called: Any = asking.create(model=MODEL, messages=messages, tools=[TOOL], tool_choice="required", max_tokens=TOKENS)
    parsed: Any = asking.parse(model=MODEL, messages=messages, response_format=Choice, max_tokens=TOKENS)
    return {
        "answer": message.content,
        "thought": message.reasoning_content,
        "pieces": [delta.content for delta in deltas if delta.content],
        "called": called.choices[0].message.tool_calls[0].function.arguments,
        "chosen": parsed.choices[0].message.parsed.colour,
    }


def responses() -> dict[str, Any]:
    """Ask through the Responses API."""
    asking = client.responses
    reply: Any = asking.create(model=MODEL, input=QUESTION)
    tool: Any = {"type": "function", "name": "choose", "parameters": TOOL["function"]["parameters"], "strict": True}
    called: Any = asking.create(
        model=MODEL, input=QUESTION, tools=[tool], tool_choice="required", max_output_tokens=TOKENS
    )
    parsed: Any = asking.parse(model=MODEL, input=QUESTION, text_format=Choice, max_output_tokens=TOKENS)
    with asking.stream(model=MODEL, input=QUESTION) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    return {
        "answer": reply.output_text,
        "thought": reply.output[0].summary[0].text,
        "pieces": pieces,
        "final": final.output_text,
        "reasoning_tokens": reply.usage.output_tokens_details.reasoning_tokens,
        "called": called.output[-1].arguments,
        "chosen": parsed.output_parsed.colour,
    }


report(chat=chat(), responses=responses(), models=[model.id for model in client.models.list()])

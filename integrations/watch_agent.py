"""Makes the agent of a recipe from the command line, asks it a question, and shows its steps while it works."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SMALL = "huggingface:Qwen/Qwen3-1.7B"
LARGE = "openai:Qwen/Qwen3-32B@http://127.0.0.1:8000/v1#Qwen/Qwen3-32B"


def watch(build: Callable[[str, str], Any], question: str, arguments: Sequence[str] | None = None) -> None:
    """Make an agent with a pair from the command line, ask it a question, and print its steps.

    Args:
        build: Function that makes the agent from the names of both models.
        question: The question, if the command line contains none.
        arguments: Arguments of the command line. None means the arguments of this process.
    """
    given = pair_parser(build.__doc__, question).parse_args(arguments)
    for text in agent_output(build(given.speculative, given.target), given.question):
        print(text, end="", flush=True)
    print()


def pair_parser(description: str | None, question: str) -> ArgumentParser:
    """Return a parser with options for the names of both models and for the question."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--speculative", default=SMALL, help="the small model (default: %(default)s)")
    parser.add_argument("--target", default=LARGE, help="the large model (default: %(default)s)")
    parser.add_argument("--question", default=question)
    return parser


def agent_output(agent: Any, question: str) -> Iterator[str]:  # noqa: ANN401 - a graph with any type of state
    """Yield the thoughts (with the author in brackets), tool calls, tool results and answers of an agent."""
    inputs = {"messages": [{"role": "user", "content": question}]}
    settings = {"configurable": {"thread_id": "1"}}
    for message, _ in agent.stream(inputs, settings, stream_mode="messages"):
        if isinstance(message, ToolMessage):
            yield f"\n{message.name} -> {message.text}\n"
        elif isinstance(message, AIMessageChunk):
            yield from _parts(message)


def _parts(chunk: AIMessageChunk) -> Iterator[str]:
    block: Any
    for block in chunk.content_blocks:
        match block:
            case {"type": "reasoning", "reasoning": thought}:
                author = block.get("extras", {}).get("author")
                yield f"\n[{author}] {thought}" if author else thought
            case {"type": "text", "text": text}:
                yield text
            case {"type": "tool_call_chunk", "name": name, "args": arguments}:
                yield f"\n{name}({arguments})"
    if chunk.chunk_position == "last":
        report = chunk.response_metadata["speculative_thinking"]
        yield f"\n({report['takeovers']} takeovers, {report['target_share']:.0%} by the large model)\n"

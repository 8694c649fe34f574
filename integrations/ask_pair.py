"""Asks the pair of a recipe a question, and prints the answer and who wrote which part."""

from __future__ import annotations

from argparse import ArgumentParser
from inspect import Parameter, signature
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking import ChatSpeculativeThinking

QUESTION = "A train leaves at 9:40 and arrives at 13:05. How long does it take?"


def ask(build: Callable[..., ChatSpeculativeThinking], arguments: Sequence[str] | None = None) -> None:
    """Make a pair with settings from the command line, ask it a question, and print the answer.

    Args:
        build: Function that makes the pair. Its arguments are the settings.
        arguments: Arguments of the command line. None means the arguments of this process.
    """
    parser = ArgumentParser(description=build.__doc__)
    parser.add_argument("--question", default=QUESTION)
    for setting in signature(build).parameters.values():
        if setting.kind is not Parameter.VAR_KEYWORD:
            parser.add_argument(f"--{setting.name.replace('_', '-')}", default=setting.default)
    settings = vars(parser.parse_args(arguments))
    question = settings.pop("question")
    print(answer_with_authors(build(**settings).invoke(question)))


def answer_with_authors(message: AIMessage) -> str:
    """Return the answer, then a line for each segment of text with its author and its kind."""
    report = message.response_metadata["speculative_thinking"]
    lines = [message.text, "", f"{report['takeovers']} takeovers, {report['target_share']:.0%} by the large model"]
    lines += [f"{s['author']:<12}{s['channel']:<9}{s['tokens']:>5} tokens  {s['kind']}" for s in report["segments"]]
    lines += [f"degraded: {reason}" for reason in report["degraded"]]
    return "\n".join(lines)

"""A pair of models on OpenAI-compatible servers. The recipes of engines and services share this code."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessage

QUESTION = "A train leaves at 9:40 and arrives at 13:05. How long does it take?"


@dataclass(frozen=True)
class ServedModel:
    """A model on an OpenAI-compatible server.

    Attributes:
        name: Name of the model on the server.
        url: Address of the server.
        tokenizer: Hub id or folder of the model's tokenizer. None if the server takes no raw prompts.
        key_variable: Environment variable with the API key. None if the server needs no key.
    """

    name: str
    url: str
    tokenizer: str | None = None
    key_variable: str | None = None

    def backend(self, **settings: Any) -> OpenAIBackend:
        """Return the backend. The settings are further arguments of `OpenAIBackend`."""
        if self.key_variable:
            settings = {"api_key": os.environ.get(self.key_variable, ""), **settings}
        return OpenAIBackend(self.name, base_url=self.url, tokenizer=self.tokenizer, **settings)


def pair(small: ServedModel, large: ServedModel, **settings: Any) -> ChatSpeculativeThinking:
    """Return the pair of both models. The settings are further arguments of both backends."""
    return ChatSpeculativeThinking(speculative=small.backend(**settings), target=large.backend(**settings))


def ask(small: ServedModel, large: ServedModel, arguments: Sequence[str] | None = None, **settings: Any) -> None:
    """Ask a pair the question from the command line, and print the answer and who wrote which part.

    Args:
        small: The small model. The command line can change its name, address and tokenizer.
        large: The large model. The command line can change it, too.
        arguments: Arguments of the command line. None means the arguments of this process.
        **settings: Further arguments of both backends.
    """
    parser = ArgumentParser(description="Ask the pair a question, and print the answer and who wrote which part.")
    parser.add_argument("--question", default=QUESTION)
    for size, model in (("small", small), ("large", large)):
        parser.add_argument(f"--{size}", default=model.name, help="name on its server (default: %(default)s)")
        parser.add_argument(f"--{size}-url", default=model.url, help="address of its server (default: %(default)s)")
        parser.add_argument(
            f"--{size}-tokenizer", default=model.tokenizer, help="Hub id or folder (default: %(default)s)"
        )
    given = parser.parse_args(arguments)
    for model in (small, large):
        if model.key_variable and not os.environ.get(model.key_variable):
            parser.error(f"set {model.key_variable} to the API key for {model.url}")
    small = replace(small, name=given.small, url=given.small_url, tokenizer=given.small_tokenizer)
    large = replace(large, name=given.large, url=given.large_url, tokenizer=given.large_tokenizer)
    print(answer_with_authors(pair(small, large, **settings).invoke(given.question)))


def answer_with_authors(message: AIMessage) -> str:
    """Return the answer, then a line for each segment of text with its author and its kind."""
    report = message.response_metadata["speculative_thinking"]
    lines = [message.text, "", f"{report['takeovers']} takeovers, {report['target_share']:.0%} by the large model"]
    lines += [f"{s['author']:<12}{s['channel']:<9}{s['tokens']:>5} tokens  {s['kind']}" for s in report["segments"]]
    lines += [f"the large model was asked: {report['escalated']}"] if report["escalated"] else []
    lines += [f"degraded: {reason}" for reason in report["degraded"]]
    return "\n".join(lines)

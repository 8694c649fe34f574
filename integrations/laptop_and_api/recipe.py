"""A pair of a small model on this machine and a large model at a hosted service. It prints what the answers cost."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from integrations.laptop_and_api.cost import comparison, cost_lines
from integrations.laptop_and_api.halves import HOSTED, LOCAL, HostedHalf, LocalHalf
from integrations.server_pair import QUESTION, answer_with_authors
from langchain_spec_thinking import ChatSpeculativeThinking, Price
from langchain_spec_thinking.evaluation import alone

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence


def pair(local: LocalHalf, hosted: HostedHalf, **settings: Any) -> ChatSpeculativeThinking:
    """Return the pair. The settings are further arguments of the backends of both servers.

    Each model keeps its own sampling settings, because some hosted models refuse others.
    """
    return ChatSpeculativeThinking(
        speculative=local.backend(**settings),
        target=hosted.backend(**settings),
        policy=hosted.policy,
        temperature=None,
        top_p=None,
    )


def ask(arguments: Sequence[str] | None = None, **settings: Any) -> None:
    """Ask a pair the questions from the command line, and print the answers, who wrote them, and what they cost.

    Args:
        arguments: Arguments of the command line. None means the arguments of this process.
        **settings: Further arguments of the backends of both servers.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    local, hosted = _halves(given)
    if not os.environ.get(hosted.key_variable):
        parser.error(f"set {hosted.key_variable} to the API key for {hosted.url}")
    model = pair(local, hosted, **settings)
    questions = given.question or [QUESTION]
    messages = []
    for question in questions:
        messages.append(model.invoke(question))
        print(f"> {question}\n\n{answer_with_authors(messages[-1])}\n")
    print("\n".join(cost_lines(model, messages)))
    if given.compare:
        large = alone(model, "target", "large").model
        print(comparison(messages, [large.invoke(question) for question in questions]))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(description="Ask the pair, and print the answers, who wrote them, and what they cost.")
    parser.add_argument("--local", choices=LOCAL, default="llama-server", help="where the small model runs")
    parser.add_argument("--hosted", choices=HOSTED, default="deepseek", help="the service of the large model")
    parser.add_argument("--small", help="name of the small model, or its Hub id or folder with transformers")
    parser.add_argument("--small-url", help="address of the server of the small model")
    parser.add_argument("--small-tokenizer", help="Hub id or folder of its tokenizer, for llama-server")
    parser.add_argument("--large", help="name of the large model at the service")
    parser.add_argument("--large-url", help="address of the service, for example of a gateway")
    parser.add_argument(
        "--price",
        type=float,
        nargs=3,
        metavar=("PROMPT", "COMPLETION", "CACHED"),
        help="price of a million tokens of the large model (read, written, read from a cache), if it is not listed",
    )
    parser.add_argument("--question", action="append", help="may be given several times")
    parser.add_argument(
        "--compare", action="store_true", help="also ask the large model alone, to compare the cost; this is billed too"
    )
    return parser


def _halves(given: Namespace) -> tuple[LocalHalf, HostedHalf]:
    local, hosted = LOCAL[given.local], HOSTED[given.hosted]
    tokenizer = local.tokenizer if hosted.continues else None  # a whole reply needs no tokenizer
    local = replace(
        local,
        model=given.small or local.model,
        url=given.small_url or local.url,
        tokenizer=given.small_tokenizer or tokenizer,
    )
    price = Price(*given.price) if given.price else hosted.price
    return local, replace(hosted, model=given.large or hosted.model, url=given.large_url or hosted.url, price=price)


if __name__ == "__main__":
    ask()

"""Options that several commands share, and the pair of models that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, Price
from langchain_spec_thinking.cli.models import LARGE_MODEL, POCKET, SMALL_MODEL, backend

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Author

Speculative = Annotated[
    str | None, typer.Option(help=f"{SMALL_MODEL} If neither model is given, the pocket pair is used.")
]
Target = Annotated[str | None, typer.Option(help=LARGE_MODEL)]
Data = Annotated[
    str,
    typer.Option(
        help="FILE.jsonl with question and answer; hf:NAME, hf:NAME@CONFIG or hf:NAME@CONFIG:SPLIT; pocket or pocket:N."
    ),
]
Check = Annotated[
    str, typer.Option(help="math, exact, or module:function, a function of the answer and the right answer.")
]
Limit = Annotated[int | None, typer.Option(help="Maximum number of questions.", min=1)]
Concurrency = Annotated[int, typer.Option(help="Number of turns at the same time.", min=1)]
MaxTokens = Annotated[int, typer.Option(help="Maximum number of tokens per turn.", min=1)]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy. Default: 0.6, or 0 for the pocket pair.", min=0)]
Seed = Annotated[int | None, typer.Option(help="For reproducible sampling, and for coins.")]
AnswerBy = Annotated[str, typer.Option(help="Which model writes the answer: speculative (small) or target (large).")]


def pair(
    speculative: str | None,
    target: str | None,
    *,
    max_tokens: int,
    temperature: float | None,
    seed: int | None,
    answer_by: str,
) -> ChatSpeculativeThinking:
    """Return the pair that the options name. Its policy depends on whether the small model reasons.

    Raises:
        ValueError: Only one model was named, or a setting is invalid.
        ImportError: A package that a model needs is not installed.
        BackendError: A model cannot be loaded.
    """
    if (speculative is None) != (target is None):
        msg = "name both models, --speculative and --target, or neither for the pocket pair"
        raise ValueError(msg)
    if speculative is None or target is None:
        speculative, target = POCKET
    small, large = backend(speculative, "speculative"), backend(target, "target")
    if temperature is None:
        temperature = 0 if {speculative, target} <= POCKET.keys() else 0.6
    policy = DelegationPolicy() if small.thinks else DelegationPolicy.non_reasoning()
    settings: dict[str, Any] = {"max_tokens": max_tokens, "seed": seed, "answer_by": answer_by}
    return ChatSpeculativeThinking(speculative=small, target=large, temperature=temperature, policy=policy, **settings)


def prices(speculative: str | None, target: str | None) -> dict[Author, Price]:
    """Read the prices of both models: prompt, completion and cached tokens, each per million tokens.

    Return nothing if neither price is given.

    Raises:
        ValueError: A price cannot be read, or only one of the two was given.
    """
    if speculative is None and target is None:
        return {}
    if speculative is None or target is None:
        msg = "give both prices, --speculative-price and --target-price; 0,0 for a model that costs nothing"
        raise ValueError(msg)
    return {"speculative": _price(speculative), "target": _price(target)}


def _price(text: str) -> Price:
    try:
        prompt, completion, *cached = (float(part) for part in text.split(","))
        return Price(prompt, completion, *cached)
    except (TypeError, ValueError) as e:
        msg = f"{text}: expected PROMPT,COMPLETION or PROMPT,COMPLETION,CACHED, each per million tokens"
        raise ValueError(msg) from e

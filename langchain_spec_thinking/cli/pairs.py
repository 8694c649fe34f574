"""Options that several commands share, and the pair of models that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_spec_thinking import ChatSpeculativeThinking, Price
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.models import LARGE_MODEL, POCKET, SMALL_MODEL, backend
from langchain_spec_thinking.default_policy import default_policy
from langchain_spec_thinking.evaluation.policy_lines import parse_policy
from langchain_spec_thinking.price import FREE

if TYPE_CHECKING:
    from rich.console import Console

    from langchain_spec_thinking import Backend, DelegationPolicy
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
MaxTokens = Annotated[
    int | None, typer.Option(help="Maximum number of tokens per turn. Default: what the contexts allow.", min=1)
]
ThinkingTokens = Annotated[
    int | None, typer.Option(help="Number of tokens after which the thought is closed at the next boundary.", min=1)
]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy. Default: 0.6, or 0 for the pocket pair.", min=0)]
Seed = Annotated[int | None, typer.Option(help="For reproducible sampling.")]
AnswerBy = Annotated[str, typer.Option(help="Which model writes the answer: speculative (small) or target (large).")]


def pair(
    speculative: str | None,
    target: str | None,
    *,
    max_tokens: int | None,
    thinking_tokens: int | None = None,
    temperature: float | None,
    seed: int | None,
    answer_by: str,
    policy: str | None = None,
    notes: Console = console,
) -> ChatSpeculativeThinking:
    """Return the pair that the options name. Without a policy, its policy depends on whether the small model reasons.

    If the backend of the small model does not know that, the model gets one short request. What remains unknown is
    printed to `notes`.

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
    delegation = parse_policy(policy)[1] if policy else _default_policy(small, notes)
    limits: dict[str, Any] = {"max_tokens": max_tokens, "thinking_tokens": thinking_tokens}
    settings: dict[str, Any] = {**limits, "seed": seed, "answer_by": answer_by}
    return ChatSpeculativeThinking(
        speculative=small, target=large, temperature=temperature, policy=delegation, **settings
    )


def _default_policy(small: Backend, notes: Console) -> DelegationPolicy:
    policy, not_known = default_policy(small)
    if not_known:
        notes.print(not_known)
    return policy


def price(text: str | None) -> Price | None:
    """Read the price of a model: prompt, completion and cached tokens, each per million tokens.

    Raises:
        ValueError: The price cannot be read.
    """
    if text is None:
        return None
    try:
        prompt, completion, *cached = (float(part) for part in text.split(","))
        return Price(prompt, completion, *cached)
    except (TypeError, ValueError) as e:
        msg = f"{text}: expected PROMPT,COMPLETION or PROMPT,COMPLETION,CACHED, each per million tokens"
        raise ValueError(msg) from e


def prices(speculative: Price | None, target: Price | None, model: ChatSpeculativeThinking) -> dict[Author, Price]:
    """Return the prices of both models: the given ones, and otherwise those that the backends know.

    Return nothing if no price is given, and the models cost nothing or the price of one of them is not known.

    Raises:
        ValueError: Only one price is given, and the other one is not known.
    """
    small, large = speculative or model.speculative.price, target or model.target.price
    given = speculative is not None or target is not None
    if small is not None and large is not None:
        return {"speculative": small, "target": large} if given or (small, large) != (FREE, FREE) else {}
    if given:
        msg = "give both prices, --speculative-price and --target-price; 0,0 for a model that costs nothing"
        raise ValueError(msg)
    return {}

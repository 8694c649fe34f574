"""Options that several commands share, and the pair of models that they name."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_spec_thinking import ChatSpeculativeThinking, Price
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.models import KEY_ENV, LARGE_MODEL, POCKET, SMALL_MODEL, backend
from langchain_spec_thinking.default_policy import default_policy
from langchain_spec_thinking.price import FREE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from langchain_spec_thinking import DelegationPolicy
    from langchain_spec_thinking.turn import Author

Speculative = Annotated[
    str | None, typer.Option(help=f"{SMALL_MODEL} If neither model is given, the pocket pair is used.")
]
Target = Annotated[str | None, typer.Option(help=LARGE_MODEL)]
SpeculativeKeyEnv = Annotated[str | None, typer.Option(help=KEY_ENV.format("small", "MISTRAL_API_KEY"))]
TargetKeyEnv = Annotated[str | None, typer.Option(help=KEY_ENV.format("large", "DEEPSEEK_API_KEY"))]
Data = Annotated[
    str,
    typer.Option(
        help="The questions: FILE.jsonl with question and answer; hf:NAME, hf:NAME@CONFIG or hf:NAME@CONFIG:SPLIT; "
        "pocket (the 200 problems that come with the package), or pocket:N (the first N of them)."
    ),
]
Check = Annotated[
    str,
    typer.Option(
        help="How answers are checked: math, exact, or module:function. The function gets the answer and the right "
        "answer."
    ),
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
    keys: Mapping[Author, str | None] = MappingProxyType({}),
    policy: DelegationPolicy | None = None,
    max_tokens: int | None,
    thinking_tokens: int | None = None,
    temperature: float | None,
    seed: int | None,
    answer_by: str,
    notes: Console = console,
) -> ChatSpeculativeThinking:
    """Return the pair that the options name. Without a policy, its policy depends on whether the small model reasons.

    If the backend of the small model does not know that, the model gets one short request.

    Args:
        speculative: Name of the small model. None: the small model of the pocket pair.
        target: Name of the large model. None: the large model of the pocket pair.
        keys: For each model, the environment variable that holds its key. Without one: the variable of its side.
        policy: The policy. None: the one that suits the small model.
        max_tokens: As in `ChatSpeculativeThinking`.
        thinking_tokens: As in `ChatSpeculativeThinking`.
        temperature: None: 0 for the pocket pair, and 0.6 for others.
        seed: As in `ChatSpeculativeThinking`.
        answer_by: As in `ChatSpeculativeThinking`.
        notes: Where to print what remains unknown.

    Raises:
        ValueError: Only one model was named, a key was not found, or a setting is invalid.
        ImportError: A package that a model needs is not installed.
        BackendError: A model cannot be loaded.
    """
    if (speculative is None) != (target is None):
        msg = "name both models, --speculative and --target, or neither for the pocket pair"
        raise ValueError(msg)
    if speculative is None or target is None:
        speculative, target = POCKET
    small = backend(speculative, "speculative", keys.get("speculative"))
    large = backend(target, "target", keys.get("target"))
    if temperature is None:
        temperature = 0 if {speculative, target} <= POCKET.keys() else 0.6
    if policy is None:
        policy, not_known = default_policy(small)
        if not_known:
            notes.print(not_known)
    limits: dict[str, Any] = {"max_tokens": max_tokens, "thinking_tokens": thinking_tokens}
    settings: dict[str, Any] = {**limits, "seed": seed, "answer_by": answer_by}
    return ChatSpeculativeThinking(speculative=small, target=large, temperature=temperature, policy=policy, **settings)


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

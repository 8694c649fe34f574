"""Whether a model that reads a text in parts reads the same as in one piece.

The signature of `forward` does not tell. Mamba takes several new tokens beside its cache, and forgets its state over
them. RecurrentGemma keeps its state in the model, so that two turns at a time share one. An encoder looks ahead. Each
of them would write wrong text, and no error would say so. So each model reads six tokens in both ways, once.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import torch

from langchain_spec_thinking.errors import ContinuationError

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.cache_argument import CacheArgument

_PARTS = (3, 2, 1)
"""How many tokens each part has: a prompt, another author's text, a token."""
_TOLERANCE = 0.02
"""How much scores may be off, as a share of their spread: in float32 rounding makes a thousandth of it at most."""


def checked(argument: CacheArgument) -> CacheArgument:
    """Let the model read a few tokens in parts.

    Returns:
        The argument, with what was found out about the passes that the model gets right.

    Raises:
        ContinuationError: In parts, however small, the model reads something else.
    """
    seen = ""
    for one_by_one, records_past in product((False, True), (True, False)):
        candidate = replace(argument, one_by_one=one_by_one, records_past=records_past)
        try:
            if _reads_parts(candidate):
                return candidate
            seen = "its scores after a text that it read in parts were wrong"
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as e:  # noqa: BLE001 - whatever a model's code raises that is given a cache it cannot use
            seen = f"reading a text in parts failed ({type(e).__name__}: {str(e).strip()[:200]})"
    msg = (
        f"{type(argument.model).__name__}: it cannot go on from tokens that it has read before: {seen}. Expected the "
        f"scores of reading all at once. It was given its cache as `{argument.name}`. Take another model, another "
        "version of transformers, or serve this one and use OpenAIBackend."
    )
    raise ContinuationError(msg)


@torch.inference_mode()
def _reads_parts(argument: CacheArgument) -> bool:
    text, other = two_texts(argument)
    model: Any = argument.model
    whole = model(**argument.inputs(text), use_cache=False).logits[0]
    cache, another, past, scores = argument.empty_cache(), argument.empty_cache(), 0, []
    for tokens in _PARTS:
        ids = slice(past, past + tokens)
        new, cache = argument.read(text[ids], cache, past, tokens)
        _, another = argument.read(other[ids], another, past)  # a state that lies in the model would be this turn's now
        scores.append(new)
        past += tokens
    return same_scores(torch.cat(scores), whole)


def two_texts(argument: CacheArgument) -> tuple[list[int], list[int]]:
    """Return two texts without a token in common, as token ids from all over the vocabulary."""
    count = sum(_PARTS)
    vocabulary: int = argument.model.config.get_text_config().vocab_size
    ids = [(i + 1) * vocabulary // (2 * count + 1) for i in range(2 * count)]
    return ids[::2], ids[1::2]


def same_scores(scores: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return whether scores differ by rounding alone. A lost context changes them by as much as they differ."""
    known = scores.isfinite() & expected.isfinite()  # tokens that a model never writes have no score
    tolerance = max(_TOLERANCE, 3 * torch.finfo(expected.dtype).eps ** 0.5)
    scores, expected = scores[known].double(), expected[known].double()
    return bool((scores - expected).norm() <= tolerance * (expected - expected.mean()).norm()) if known.any() else True

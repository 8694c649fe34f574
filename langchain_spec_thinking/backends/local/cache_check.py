"""Whether a model that reads a text in parts reads the same as in one piece.

The signature of `forward` does not tell. Mamba takes several new tokens beside its cache, and forgets its state over
them. RecurrentGemma keeps its state in the model, so that two turns at a time share one. An encoder looks ahead. Each
of them would write wrong text, and no error would say so. So each model reads six tokens in both ways, once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from langchain_spec_thinking.backends.local.cache_argument import can_crop, is_attention_only
from langchain_spec_thinking.errors import ContinuationError

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.local.cache_argument import CacheArgument

_PARTS = (3, 2, 1)
"""How many tokens each part has: a prompt, another author's text, a token."""
_TOLERANCE = 0.02
"""How much scores may be off, as a share of their spread: in float32 rounding makes a thousandth of it at most."""
_NOISE = 1e-3
"""How much they may differ if the same is read in the same parts again."""


class _WrongError(Exception):
    """A model reads a text in parts otherwise than in one piece."""


def checked(argument: CacheArgument) -> CacheArgument:
    """Let the model read a few tokens in parts.

    Returns:
        The argument, with what was found out about the passes that the model gets right.

    Raises:
        ContinuationError: In parts, however small, the model reads something else.
    """
    seen, right = "", None
    for records_past in _which_first(argument):
        try:
            found, cache = _right(replace(argument, records_past=records_past))
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except _WrongError as e:
            seen = str(e)
        except Exception as e:  # noqa: BLE001 - whatever a model's code raises that is given a cache it cannot use
            seen = f"{type(e).__name__}: {str(e).strip()[:200]}"
        else:
            right = found if right is None or not records_past else right
            if can_crop(cache, 1, 1) if records_past else not getattr(cache, "is_croppable", False):
                return found
    if right:
        return right
    msg = (
        f"{type(argument.model).__name__}: it cannot go on from tokens that it has read before ({seen}). Expected the "
        f"scores of reading all at once. It was given its cache as `{argument.name}`. Take another model, another "
        "version of transformers, or serve this one and use OpenAIBackend."
    )
    raise ContinuationError(msg)


def _which_first(argument: CacheArgument) -> tuple[bool, ...]:
    """Return whether to record the past, the likelier first: it grows, and is of no use in a cache that has states."""
    cache = argument.empty_cache()
    has_states = any(hasattr(layer, "conv_states") for layer in getattr(cache, "layers", ()))
    return (False,) if argument.model_makes_it else (False, True) if has_states else (True, False)


@torch.inference_mode()
def _right(argument: CacheArgument) -> tuple[CacheArgument, Any]:
    """Return how the model reads parts right, and the cache after them."""
    model: Any = argument.model
    text, other = two_texts(argument)
    whole = model(**argument.inputs(text), use_cache=False).logits[0]
    scores, cache = _in_parts(argument, text)
    error = _distance(scores, whole)
    attention_only = is_attention_only(cache)
    if not attention_only:
        singly = replace(argument, one_by_one=True)
        single_scores, single_cache = _in_parts(singly, text)
        single_error = _distance(single_scores, whole)
        # Rounding is about the same in both; in bfloat16 it alone is too large to tell.
        if error > max(4 * single_error, _NOISE):
            argument, scores, cache, error = singly, single_scores, single_cache, single_error
    if error > _tolerance(model.dtype):
        raise _WrongError("its scores after a text that it read in parts were wrong")
    if not attention_only and _distance(_in_parts(argument, text, other)[0], scores) > _noise(model.dtype):
        raise _WrongError("it mixes up two texts that it reads by turns: it keeps a state of its own beside the cache")
    return argument, cache


def _in_parts(argument: CacheArgument, text: list[int], other: list[int] | None = None) -> tuple[torch.Tensor, Any]:
    """Return the scores of a text that is read in parts, by turns with another one, and the cache after it."""
    cache, another, past, scores = argument.empty_cache(), argument.empty_cache(), 0, []
    for tokens in _PARTS:
        ids = slice(past, past + tokens)
        new, cache = argument.read(text[ids], cache, past, tokens)
        if other:
            _, another = argument.read(other[ids], another, past)
        scores.append(new)
        past += tokens
    return torch.cat(scores), cache


def two_texts(argument: CacheArgument) -> tuple[list[int], list[int]]:
    """Return two texts without a token in common, as token ids from all over the vocabulary."""
    count = sum(_PARTS)
    vocabulary: int = argument.model.config.get_text_config().vocab_size
    ids = [(i + 1) * vocabulary // (2 * count + 1) for i in range(2 * count)]
    return ids[::2], ids[1::2]


def same_scores(scores: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Return whether scores differ by rounding alone. A lost context changes them by as much as they differ.

    Args:
        scores: Scores of any shape.
        expected: What they should be.
        dtype: In what the model computes; it may give its scores in another type.
    """
    return _distance(scores, expected) <= _tolerance(dtype)


def _distance(scores: torch.Tensor, expected: torch.Tensor) -> float:
    """Return how far scores are off, as a share of their spread."""
    known = scores.isfinite() & expected.isfinite()  # tokens that a model never writes have no score
    if not known.any():
        return 0.0
    scores, expected = scores[known].double(), expected[known].double()
    return float((scores - expected).norm() / (expected - expected.mean()).norm().clamp(min=1e-9))


def _tolerance(dtype: torch.dtype) -> float:
    return max(_TOLERANCE, 3 * _rounding(dtype))


def _noise(dtype: torch.dtype) -> float:
    return max(_NOISE, _rounding(dtype) / 4)


def _rounding(dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).eps ** 0.5) if dtype.is_floating_point else 0.0

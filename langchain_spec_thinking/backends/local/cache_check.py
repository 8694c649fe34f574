"""A check that reading a text in parts gives the same logits as reading it in one piece.

The signature of `forward` does not show this. Mamba accepts several new tokens with its cache, but loses its state over
them. RecurrentGemma keeps its state inside the model, so two turns at the same time would share one state. An encoder
attends to later tokens. Each of these models would write wrong text without an error. So each model reads six tokens
both ways, once, when it is loaded.
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
"""Number of tokens in each part: a prompt, text of another author, a single token."""
_TOLERANCE = 0.02
"""Largest error of the logits, as a share of their spread. Float32 rounding causes a thousandth of this at most."""
_NOISE = 1e-3
"""Largest difference if the same parts are read again, as a share of the spread of the logits."""


class _LogitsDifferError(Exception):
    """Reading in parts gives other logits than reading in one piece."""


def check_cache(argument: CacheArgument) -> CacheArgument:
    """Let the model read a few tokens in parts and compare the logits.

    Returns:
        The argument, with the settings under which the model reads parts correctly.

    Raises:
        ContinuationError: The model does not read parts correctly under any settings, not even token by token.
    """
    reason, working = "", None
    for records_past in _records_past_order(argument):
        try:
            settings, cache = _find_working_settings(replace(argument, records_past=records_past))
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except _LogitsDifferError as e:
            reason = str(e)
        except Exception as e:  # noqa: BLE001 - with a wrong cache, a model's code may raise anything
            reason = f"{type(e).__name__}: {str(e).strip()[:200]}"
        else:
            working = settings if working is None or not records_past else working
            if can_crop(cache, 1, 1) if records_past else not getattr(cache, "is_croppable", False):
                return settings
    if working:
        return working
    msg = (
        f"{type(argument.model).__name__}: it cannot continue from a KV cache ({reason}). Expected the logits of one "
        f"pass over all tokens. The cache was passed as `{argument.name}`. Use another model or another version of "
        "transformers, or run this model on a server and use OpenAIBackend."
    )
    raise ContinuationError(msg)


def _records_past_order(argument: CacheArgument) -> tuple[bool, ...]:
    """Return the values of `records_past` to try, the more likely one first.

    A record of the past grows with the text, and it has no use in a cache with states (convolutions).
    """
    cache = argument.empty_cache()
    has_states = any(hasattr(layer, "conv_states") for layer in getattr(cache, "layers", ()))
    return (False,) if argument.model_creates_cache else (False, True) if has_states else (True, False)


@torch.inference_mode()
def _find_working_settings(argument: CacheArgument) -> tuple[CacheArgument, Any]:
    """Return the settings under which the model reads parts correctly, and the cache after them."""
    model: Any = argument.model
    text, other = two_texts(argument)
    expected = model(**argument.inputs(text), use_cache=False).logits[0]
    scores, cache = _in_parts(argument, text)
    error = _distance(scores, expected)
    attention_only = is_attention_only(cache)
    if not attention_only:
        by_token = replace(argument, token_by_token=True)
        single_scores, single_cache = _in_parts(by_token, text)
        single_error = _distance(single_scores, expected)
        # Rounding errors are about the same both ways. In bfloat16 they are too large for a small fixed limit, so
        # compare both errors.
        if error > max(4 * single_error, _NOISE):
            argument, scores, cache, error = by_token, single_scores, single_cache, single_error
    if error > _tolerance(model.dtype):
        raise _LogitsDifferError("its logits are wrong if it reads a text in parts")
    if not attention_only and _distance(_in_parts(argument, text, other)[0], scores) > _noise(model.dtype):
        raise _LogitsDifferError(
            "it mixes up two texts that it reads alternately, because it keeps a state outside the cache"
        )
    return argument, cache


def _in_parts(argument: CacheArgument, text: list[int], other: list[int] | None = None) -> tuple[torch.Tensor, Any]:
    """Read a text in parts, and return its logits and its cache.

    If there is an `other` text, the parts of both texts alternate, each text with its own cache.
    """
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
    """Return two texts without common tokens, as token ids from the whole range of the vocabulary."""
    count = sum(_PARTS)
    vocabulary: int = argument.model.config.get_text_config().vocab_size
    ids = [(i + 1) * vocabulary // (2 * count + 1) for i in range(2 * count)]
    return ids[::2], ids[1::2]


def same_scores(scores: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Return whether logits differ only by rounding. If a model loses its context, the difference is far larger.

    Args:
        scores: Logits of any shape.
        expected: Expected logits, of the same shape.
        dtype: Data type of the model's computations. The logits may have another type.
    """
    return _distance(scores, expected) <= _tolerance(dtype)


def _distance(scores: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the distance between logits, relative to the spread of the expected logits."""
    known = scores.isfinite() & expected.isfinite()  # tokens that the model never writes have infinite logits
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

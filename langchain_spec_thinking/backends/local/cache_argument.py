"""How the `forward` method of a model takes its cache: the name of the argument and the kind of cache.

Models of transformers 5.24 call the argument `cache`. Models of transformers 5.0 call it `past_key_values` or
`cache_params`. RWKV calls it `state`. A model accepts an unknown name without an error, but then it sees only its
newest tokens and writes wrong text. So this module reads the name from the signature of `forward`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from langchain_spec_thinking.backends.local.growing_layer import GrowingLayer
from langchain_spec_thinking.errors import ContinuationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

NAMES = ("cache", "past_key_values", "cache_params", "state")
"""Names of the argument, newest first. A model may accept an old name in addition to the new one."""


@dataclass(frozen=True)
class CacheArgument:
    """The argument of a model's `forward` that holds the cache.

    Attributes:
        model: The model.
        name: Name of the argument.
        model_creates_cache: Whether the model creates its own kind of cache. It then gets no cache in the first pass
            and returns one.
        parameters: Names of all arguments of `forward`.
        token_by_token: Whether a pass that continues from a cache may read only one token. With more tokens such a
            model loses its state.
        records_past: Whether sliding windows and convolutions record their past, so that a crop can restore it. This
            has an effect only if transformers supports it.
    """

    model: PreTrainedModel
    name: str
    model_creates_cache: bool
    parameters: frozenset[str]
    token_by_token: bool = False
    records_past: bool = True

    @classmethod
    def of(cls, model: PreTrainedModel) -> CacheArgument:
        """Find the cache argument of a model.

        Raises:
            ContinuationError: `forward` has none of the known arguments.
        """
        bare = _unwrapped(model)
        parameters = inspect.signature(bare.forward).parameters
        name = next((name for name in NAMES if name in parameters), None)
        if name is None:
            msg = (
                f"{type(model).__name__}: `forward` has no argument for a cache. Expected one of {', '.join(NAMES)}; "
                f"its arguments are {', '.join(parameters)}. Use another model, or run this model on a server "
                "and use OpenAIBackend."
            )
            raise ContinuationError(msg)
        return cls(
            model,
            name,
            not bare._supports_default_dynamic_cache(),  # noqa: SLF001 - `generate` uses it; there is no public name
            frozenset(parameters),
        )

    def empty_cache(self) -> Any:  # noqa: ANN401 - the type depends on the model
        """Return an empty cache of the kind that `generate` would create. None if the model creates its own cache."""
        if self.model_creates_cache:
            return None
        cache = DynamicCache(config=self.model.config)
        layers = cache.layers
        layers[:] = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in layers]  # type: ignore[no-untyped-call]
        if self.records_past and hasattr(cache, "activate_past_recording"):
            cache.activate_past_recording()
        return cache

    def copy_of(self, cache: Any, tokens: int) -> Any:  # noqa: ANN401 - the type depends on the model
        """Return a copy of the first tokens of a cache that holds only keys and values of all tokens."""
        copy = self.empty_cache()
        for index, layer in enumerate(cache.layers):
            copy.update(*layer.beginning(tokens), index)
        return copy

    def read(self, ids: Sequence[int], cache: Any, past: int, rows: int = 1) -> tuple[torch.Tensor, Any]:  # noqa: ANN401
        """Run forward passes over new tokens.

        Args:
            ids: Ids of the new tokens.
            cache: Cache of the earlier tokens. It is changed in place if possible.
            past: Number of tokens in the cache.
            rows: Number of places, counted from the end, whose logits are returned.

        Returns:
            Logits of the next token at these places, of shape (rows, vocabulary), and the cache for the next call.
        """
        parts = [[token] for token in ids] if self.token_by_token and past else [list(ids)]
        scores = []
        for part in parts:
            new, cache = self._pass(part, cache, past, min(rows, len(part)))
            scores.append(new)
            past += len(part)
        return torch.cat(scores)[-rows:], cache

    def inputs(self, ids: list[int], past: int = 0) -> dict[str, torch.Tensor]:
        """Return the inputs of `forward` for new tokens, as `generate` would build them.

        They include the positions if `forward` takes them. Bamba, for example, would otherwise count from 0 in each
        pass.

        Args:
            ids: Ids of the new tokens.
            past: Number of tokens before them.
        """
        device = self.model.device
        places = torch.arange(past, past + len(ids), device=device)
        inputs = {"input_ids": torch.tensor([ids], device=device)}
        if "position_ids" in self.parameters:
            inputs["position_ids"] = places[None]
        if "cache_position" in self.parameters:
            inputs["cache_position"] = places
        return inputs

    def _pass(self, ids: list[int], cache: Any, past: int, rows: int) -> tuple[torch.Tensor, Any]:  # noqa: ANN401
        last_only = {"logits_to_keep": rows} if "logits_to_keep" in self.parameters else {}
        model: Any = self.model  # torch types attributes of modules as tensors
        output = model(**self.inputs(ids, past), **{self.name: cache}, use_cache=True, **last_only)
        if self.model_creates_cache:
            cache = getattr(output, self.name, None)
        return output.logits[0, -rows:], cache


def cache_length(cache: Any) -> int:  # noqa: ANN401 - the type depends on the model
    """Return the number of tokens in a cache. Only attention layers know it."""
    return int(cache.get_seq_length())


def can_crop(cache: Any, tokens: int, read_since_crop: int) -> bool:  # noqa: ANN401
    """Return whether the last tokens can be removed from a cache without a trace.

    Args:
        cache: The cache.
        tokens: Number of tokens to remove.
        read_since_crop: Number of tokens read since the last crop. A layer that discards old tokens (sliding window,
            convolution) records the past of only these tokens.
    """
    if is_attention_only(cache):
        return True
    if not isinstance(cache, DynamicCache) or not getattr(cache, "is_croppable", False):
        return False
    forgets = any(hasattr(layer, "record_past") for layer in cache.layers)
    return all(_crops_all(layer) for layer in cache.layers) and not (forgets and tokens > read_since_crop)


def is_attention_only(cache: Any) -> bool:  # noqa: ANN401
    """Return whether a cache holds only keys and values of all tokens (no sliding windows, no states)."""
    return isinstance(cache, DynamicCache) and all(type(layer) is GrowingLayer for layer in cache.layers)


def _crops_all(layer: object) -> bool:
    """Return whether a layer's `crop` removes everything that belongs to the cropped tokens.

    A layer may report that it can be cropped and still keep data. DeepSeek-V4's layer keeps its summaries.
    """
    kind = type(layer)
    if not getattr(layer, "record_past", True):
        return False
    return kind.__module__ in {DynamicLayer.__module__, GrowingLayer.__module__} or "crop" in vars(kind)


def _unwrapped(model: Any) -> Any:  # noqa: ANN401 - wrappers of PEFT and torch.compile take any arguments
    if hasattr(model, "get_base_model"):
        return model.get_base_model()
    return getattr(model, "_orig_mod", model)

"""How a model takes what it has computed for the tokens it has read: under which name, and in which kind of cache.

Models of transformers 5.24 call it `cache`, those of transformers 5.0 `past_key_values` or `cache_params`, RWKV calls
it `state`. A model takes an unknown name without complaint, sees its newest tokens alone, and writes wrong text.
So the name is read off the signature of `forward`.
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
"""Names of the argument, the newest first: a model may still take an older one beside it."""


@dataclass(frozen=True)
class CacheArgument:
    """The argument of one model's `forward` that holds its cache.

    Attributes:
        model: The model.
        name: The argument's name.
        model_makes_it: The model is given no cache at first, and returns one of its own kind.
        parameters: All arguments of `forward`.
        one_by_one: A pass that goes on from a cache may read one token only; with more, the model forgets its state.
        records_past: Its windows and convolutions keep what a crop brings back, if transformers can do that.
    """

    model: PreTrainedModel
    name: str
    model_makes_it: bool
    parameters: frozenset[str]
    one_by_one: bool = False
    records_past: bool = True

    @classmethod
    def of(cls, model: PreTrainedModel) -> CacheArgument:
        """Find the argument of a model.

        Raises:
            ContinuationError: The model has none that is known.
        """
        bare = _unwrapped(model)
        parameters = inspect.signature(bare.forward).parameters
        name = next((name for name in NAMES if name in parameters), None)
        if name is None:
            msg = (
                f"{type(model).__name__}: `forward` has no argument for a cache. Expected one of {', '.join(NAMES)}; "
                f"its arguments are {', '.join(parameters)}. Take another model, or serve this one and use "
                "OpenAIBackend."
            )
            raise ContinuationError(msg)
        return cls(
            model,
            name,
            not bare._supports_default_dynamic_cache(),  # noqa: SLF001 - what `generate` asks; there is no public name
            frozenset(parameters),
        )

    def empty_cache(self) -> Any:  # noqa: ANN401 - each kind of model has a kind of its own
        """Return a cache to begin with, of the kind that `generate` would make; None if the model makes it."""
        if self.model_makes_it:
            return None
        cache = DynamicCache(config=self.model.config)
        layers = cache.layers
        layers[:] = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in layers]  # type: ignore[no-untyped-call]
        if self.records_past and hasattr(cache, "activate_past_recording"):
            cache.activate_past_recording()
        return cache

    def read(self, ids: Sequence[int], cache: Any, past: int, rows: int = 1) -> tuple[torch.Tensor, Any]:  # noqa: ANN401
        """Read tokens.

        Args:
            ids: Their ids.
            cache: What the model has read before; it is changed in place if it can be.
            past: How many tokens that are.
            rows: For how many of the last places scores are wanted.

        Returns:
            Scores of the next token at these places, of shape (rows, vocabulary), and the cache to go on with.
        """
        parts = [[token] for token in ids] if self.one_by_one and past else [list(ids)]
        scores = []
        for part in parts:
            new, cache = self._pass(part, cache, past, min(rows, len(part)))
            scores.append(new)
            past += len(part)
        return torch.cat(scores)[-rows:], cache

    def inputs(self, ids: list[int], past: int = 0) -> dict[str, torch.Tensor]:
        """Return what `forward` is given of tokens: as by `generate`, their places too, if it takes any.

        Bamba, for example, would count from 0 again in each pass.

        Args:
            ids: Their ids.
            past: How many tokens are before them.
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
        if self.model_makes_it:
            cache = getattr(output, self.name, None)
        return output.logits[0, -rows:], cache


def cache_length(cache: Any) -> int:  # noqa: ANN401 - as above
    """Return how many tokens a cache holds; only attention knows."""
    return int(cache.get_seq_length())


def can_crop(cache: Any, tokens: int, read_last: int) -> bool:  # noqa: ANN401
    """Return whether the last tokens can be taken out of a cache, and leave no trace.

    Args:
        cache: The cache.
        tokens: How many tokens.
        read_last: How many tokens were read since it was last cropped; a layer that forgets keeps the past of those.
    """
    if is_attention_only(cache):
        return True
    if not isinstance(cache, DynamicCache) or not getattr(cache, "is_croppable", False):
        return False
    forgets = any(hasattr(layer, "record_past") for layer in cache.layers)
    return all(_crops_all(layer) for layer in cache.layers) and not (forgets and tokens > read_last)


def is_attention_only(cache: Any) -> bool:  # noqa: ANN401
    """Return whether all that a cache holds are keys and values of all tokens."""
    return isinstance(cache, DynamicCache) and all(type(layer) is GrowingLayer for layer in cache.layers)


def _crops_all(layer: object) -> bool:
    """Return whether a layer that says that it can be cropped crops all it holds: DeepSeek-V4's keeps its summaries."""
    kind = type(layer)
    if not getattr(layer, "record_past", True):
        return False
    return kind.__module__ in {DynamicLayer.__module__, GrowingLayer.__module__} or "crop" in vars(kind)


def _unwrapped(model: Any) -> Any:  # noqa: ANN401 - of PEFT or torch.compile, which take any arguments and pass them on
    if hasattr(model, "get_base_model"):
        return model.get_base_model()
    return getattr(model, "_orig_mod", model)

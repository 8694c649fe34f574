"""A model gets its cache under the argument name that its own `forward` uses."""

from __future__ import annotations

import functools
import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from langchain_spec_thinking.backends.local.cache_argument import NAMES, CacheArgument
from langchain_spec_thinking.backends.local.cache_check import check_cache
from langchain_spec_thinking.errors import ContinuationError
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    import torch

CLASSES = sorted(
    {
        name
        for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
        for name in ([names] if isinstance(names, str) else names)
    }
)
LIKE_A_CACHE = ("cache", "past", "state", "mems", "memory")
NOT_A_CACHE = {
    "cache_position",
    "cross_attention_states",
    "encoder_hidden_states",
    "output_hidden_states",
    "shared_kv_states",
    "use_cache",
    "use_mems",
}
OF_ANOTHER_KIND = {
    "Gemma4AssistantForCausalLM",  # writes drafts for another model, from the cache of that model
    "Gemma4UnifiedAssistantForCausalLM",
    "OpenAIGPTLMHeadModel",  # reads all tokens again in each pass
    "RecurrentGemmaForCausalLM",  # only in some versions; keeps its state inside the model
    "ReformerModelWithLMHead",  # takes `past_buckets_states`
    "XLNetLMHeadModel",  # takes `mems`, which needs other inputs
}
"""Models without a cache argument that this package can use."""


def model_with_cache_name(name: str) -> Any:
    """Return a model that takes its cache under this name and ignores unknown arguments."""
    model = tiny.llama(1)
    own = CacheArgument.of(model).name

    def forward(input_ids: torch.Tensor, **inputs: Any) -> Any:
        return model(input_ids=input_ids, **{own: inputs.get(name), "use_cache": inputs.get("use_cache")})

    parameters = [
        inspect.Parameter("input_ids", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]

    class Named:
        config, device, dtype = model.config, model.device, model.dtype
        _supports_default_dynamic_cache = staticmethod(lambda: True)

        def __init__(self) -> None:
            self.forward = forward

        def __call__(self, **inputs: Any) -> Any:
            return self.forward(**inputs)

    return Named()


@pytest.mark.parametrize("name", NAMES)
def test_the_name_comes_from_the_signature(name: str) -> None:
    assert check_cache(CacheArgument.of(model_with_cache_name(name))).name == name


@pytest.mark.parametrize("name", ["mems", "past_buckets_states", "use_cache", "remembered"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ContinuationError, match=f"no argument for a cache. Expected one of cache, .*{name}"):
        CacheArgument.of(model_with_cache_name(name))


@pytest.mark.parametrize("own_name", NAMES)
def test_a_cache_under_another_name_is_noticed(own_name: str) -> None:
    """A model ignores unknown arguments. Without its cache it sees only its newest tokens and writes wrong text."""
    other = next(name for name in NAMES if name != own_name)
    argument = CacheArgument.of(model_with_cache_name(own_name))
    with pytest.raises(ContinuationError, match="cannot continue from a KV cache"):
        check_cache(CacheArgument(argument.model, other, model_creates_cache=False, parameters=argument.parameters))


def test_a_wrapper_does_not_hide_the_signature() -> None:
    model = model_with_cache_name("state")
    plain = model.forward

    @functools.wraps(plain)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs)

    model.forward = wrapped
    assert CacheArgument.of(model).name == "state"
    adapter: Any = SimpleNamespace(forward=lambda *_, **__: None, get_base_model=lambda: model)  # like PEFT's
    assert CacheArgument.of(adapter).name == "state"


@pytest.mark.parametrize("name", CLASSES)
def test_each_model_of_transformers_is_known_or_refused(name: str) -> None:
    model: Any = getattr(transformers, name)
    like = {p for p in inspect.signature(model.forward).parameters if any(word in p for word in LIKE_A_CACHE)}
    try:
        found = CacheArgument.of(model).name
    except ContinuationError:
        assert name in OF_ANOTHER_KIND
        return
    assert like - NOT_A_CACHE - {found} <= set(NAMES), f"{name} takes its past by a second name too"

"""The check at construction finds out which kinds of reading in parts a model gets right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers import LlamaForCausalLM

from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
from langchain_spec_thinking.backends.local.cache_check import check_cache
from langchain_spec_thinking.errors import ContinuationError
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.families import REFUSED, RUN
from tests.unit_tests.backends.test_families import as_documented

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TYPES = [torch.float32, torch.bfloat16, torch.float16]
PASSES_MAX = 30


def model(name: str, dtype: torch.dtype) -> PreTrainedModel:
    family = next(family for family in [*RUN, *REFUSED] if family.name == name)
    loaded: PreTrainedModel = family.model().to(dtype=dtype)  # type: ignore[call-arg]
    return loaded


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(
    ("name", "token_by_token"),
    [("Llama", False), ("Gemma3", False), ("Mamba2", False), ("FalconMamba", True), ("Jamba", True)],
)
def test_rounding_does_not_hide_wrong_logits(name: str, dtype: torch.dtype, token_by_token: bool) -> None:
    """Jamba's logits are wrong by 8% in float32. Rounding in bfloat16 can cause the same error in a deep model."""
    if not as_documented():
        pytest.skip("the table in docs/backends.md is about transformers 5.24, and older versions read in another way")
    assert check_cache(CacheArgument.of(model(name, dtype))).token_by_token is token_by_token


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_state_inside_the_model_is_noticed(dtype: torch.dtype) -> None:
    with pytest.raises(ContinuationError, match="RecurrentGemma"):
        check_cache(CacheArgument.of(model("RecurrentGemma", dtype)))


@pytest.mark.parametrize(("name", "most"), [("Llama", 7), ("Mistral", 14), ("Mamba", 16), ("Lfm2", PASSES_MAX)])
def test_the_check_takes_few_passes(name: str, most: int) -> None:
    if not as_documented():
        pytest.skip("the table in docs/backends.md is about transformers 5.24, and older versions read in another way")
    loaded, passes = model(name, torch.float32), []
    loaded.register_forward_pre_hook(lambda *_: passes.append(1))
    tiny.backend(loaded)
    assert len(passes) <= most


def test_the_past_is_recorded_only_if_that_allows_crops() -> None:
    """A record of the past grows with each token, and recording is slow."""
    if not as_documented():
        pytest.skip("the table in docs/backends.md is about transformers 5.24, and older versions read in another way")
    assert not check_cache(CacheArgument.of(model("Mamba2", torch.float32))).records_past
    assert check_cache(CacheArgument.of(model("Mistral", torch.float32))).records_past


def test_running_out_of_memory_is_not_a_wrong_result() -> None:
    loaded = model("Llama", torch.float32)
    assert isinstance(loaded, LlamaForCausalLM)

    def fail(*_: object) -> None:
        msg = "out of memory"
        raise torch.OutOfMemoryError(msg)

    loaded.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        check_cache(CacheArgument.of(loaded))


def test_logits_of_minus_infinity_are_not_compared() -> None:
    loaded = model("Llama", torch.float32)

    def forbid(_: torch.nn.Module, __: object, output: dict[str, torch.Tensor]) -> None:
        output["logits"][..., :5] = -torch.inf

    loaded.register_forward_hook(forbid)
    check_cache(CacheArgument.of(loaded))

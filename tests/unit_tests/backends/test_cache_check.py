"""The check at construction finds out which kinds of reading in parts a model gets right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers import LlamaForCausalLM

from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
from langchain_spec_thinking.backends.local.cache_check import checked
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
    made: PreTrainedModel = family.model().to(dtype=dtype)  # type: ignore[call-arg]
    return made


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(
    ("name", "one_by_one"),
    [("Llama", False), ("Gemma3", False), ("Mamba2", False), ("FalconMamba", True), ("Jamba", True)],
)
def test_rounding_does_not_hide_what_a_model_cannot_do(name: str, dtype: torch.dtype, one_by_one: bool) -> None:
    """Jamba's logits are wrong by 8% in float32. Rounding in bfloat16 can cause the same error in a deep model."""
    if not as_documented():
        pytest.skip("older versions of transformers do otherwise")
    assert checked(CacheArgument.of(model(name, dtype))).one_by_one is one_by_one


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_state_that_lies_in_the_model_is_noticed(dtype: torch.dtype) -> None:
    with pytest.raises(ContinuationError, match="RecurrentGemma"):
        checked(CacheArgument.of(model("RecurrentGemma", dtype)))


@pytest.mark.parametrize(("name", "most"), [("Llama", 7), ("Mistral", 14), ("Mamba", 16), ("Lfm2", PASSES_MAX)])
def test_it_costs_a_few_tokens(name: str, most: int) -> None:
    if not as_documented():
        pytest.skip("older versions of transformers do otherwise")
    made, read = model(name, torch.float32), []
    made.register_forward_pre_hook(lambda *_: read.append(1))
    tiny.backend(made)
    assert len(read) <= most


def test_a_state_is_not_recorded_for_crops_that_never_come() -> None:
    """A record of the past grows with each token, and recording is slow."""
    if not as_documented():
        pytest.skip("older versions of transformers do otherwise")
    assert not checked(CacheArgument.of(model("Mamba2", torch.float32))).records_past
    assert checked(CacheArgument.of(model("Mistral", torch.float32))).records_past


def test_running_out_of_memory_is_no_refusal() -> None:
    made = model("Llama", torch.float32)
    assert isinstance(made, LlamaForCausalLM)

    def fail(*_: object) -> None:
        msg = "out of memory"
        raise torch.OutOfMemoryError(msg)

    made.register_forward_pre_hook(fail)
    with pytest.raises(torch.OutOfMemoryError):
        checked(CacheArgument.of(made))


def test_scores_of_minus_infinity_are_no_difference() -> None:
    made = model("Llama", torch.float32)

    def forbid(_: torch.nn.Module, __: object, output: dict[str, torch.Tensor]) -> None:
        output["logits"][..., :5] = -torch.inf

    made.register_forward_hook(forbid)
    checked(CacheArgument.of(made))

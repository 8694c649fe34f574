"""The user sees no output of the libraries that this package uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

from langchain_spec_thinking import ChatSpeculativeThinking, pocket
from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
from langchain_spec_thinking.backends.local.loading import load_model
from tests.unit_tests.backends import tiny
from tests.unit_tests.library_output import collect_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL = Path(pocket.__file__).parent / "pocket-small"


@pytest.fixture(params=[True, False], ids=["bars wanted", "no bars wanted"])
def bars(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = logging.is_progress_bar_enabled()
    show_bars(shown=request.param)
    yield request.param
    show_bars(shown=before)


def show_bars(*, shown: bool) -> None:
    set_it: Any = logging.enable_progress_bar if shown else logging.disable_progress_bar
    set_it()


def test_a_pair_prints_nothing(bars: bool) -> None:
    with collect_output() as output:
        ChatSpeculativeThinking.pocket(max_tokens=20).invoke("What is 2 + 3?")
    assert output == []
    assert logging.is_progress_bar_enabled() is bars


def test_the_users_setting_is_restored_if_there_is_no_model(bars: bool, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot be loaded"):
        load_model(str(tmp_path), dtype="auto", device="auto", trust_remote_code=False)
    assert logging.is_progress_bar_enabled() is bars


def old_name() -> None:
    model: Any = tiny.llama()
    if CacheArgument.of(model).name != "cache":
        pytest.skip("this version of transformers has no other name yet")
    model(input_ids=torch.tensor([[5]]), past_key_values=DynamicCache(config=model.config), use_cache=True)


def loading() -> None:
    show_bars(shown=True)
    AutoModelForCausalLM.from_pretrained(SMALL)


def logged() -> None:
    transformers.utils.logging.get_logger("transformers.models").warning_once("something is deprecated")


@pytest.mark.parametrize(
    ("loud", "expected"),
    [(old_name, "past_key_values"), (loading, "100%|"), (logged, "something is deprecated")],
)
@pytest.mark.usefixtures("bars")
def test_unwanted_output_is_collected(loud: Callable[[], None], expected: str) -> None:
    for _ in range(2):  # `collect_output` also collects a message that the library logs only once
        with collect_output() as output:
            loud()
        assert expected in "\n".join(output)

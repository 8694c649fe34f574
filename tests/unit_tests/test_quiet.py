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
from langchain_spec_thinking.backends.local.backend import load_model
from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
from tests.unit_tests.backends import tiny
from tests.unit_tests.complaints import heard

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


def test_a_pair_is_made_and_writes_without_a_word(bars: bool) -> None:
    with heard() as complaints:
        ChatSpeculativeThinking.pocket(max_tokens=20).invoke("What is 2 + 3?")
    assert complaints == []
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
    ("loud", "said"),
    [(old_name, "`past_key_values` is deprecated"), (loading, "Loading weights"), (logged, "something is deprecated")],
)
@pytest.mark.usefixtures("bars")
def test_these_tests_would_hear_it(loud: Callable[[], None], said: str) -> None:
    for _ in range(2):  # `heard` also collects a message that the library logs only once
        with heard() as complaints:
            loud()
        assert said in "\n".join(complaints)

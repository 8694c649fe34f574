"""The tokens of a turn always spell its text, whatever the authors write, drop and add."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
from langchain_spec_thinking.backends.local.kv_cache import TurnCache
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZERS = [tiny.byte_tokenizer(foreign=True), tiny.piece_tokenizer()]
TEXTS = st.lists(
    st.sampled_from(["the cat", " sat", "\n", "\n\n", "  ", "🤖", "你好", "é", "A", ".", " Wait", "<|end|"]), max_size=6
).map("".join)


CONTROLS = re.compile("|".join(map(re.escape, tiny.CONTROLS)))


def turn_cache(tokenizer: PreTrainedTokenizerFast) -> TurnCache:
    return TurnCache(
        tokenizer, CacheArgument.of(tiny.llama()), tokenizer.encode("<|user|>hi<|end|><|assistant|>"), {}, CONTROLS
    )


def spelled(tokenizer: PreTrainedTokenizerFast, cache: TurnCache) -> str:
    return str(tokenizer.decode(cache.ids)).removeprefix(str(tokenizer.decode(turn_cache(tokenizer).ids)))


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["bytes", "pieces"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_tokens_spell_the_text(tokenizer: PreTrainedTokenizerFast, data: st.DataObject) -> None:
    cache, text = turn_cache(tokenizer), ""
    for _ in range(data.draw(st.integers(1, 5))):
        cut = data.draw(st.integers(0, len(text)))
        text = text[: len(text) - cut] + data.draw(TEXTS)  # drops the end, then another author writes
        cache.align(text)
        assert spelled(tokenizer, cache) == text
        own = data.draw(TEXTS)
        for token in tokenizer.encode(f"\n{own}", add_special_tokens=False):  # then the model itself writes
            text += cache.append(token)
        assert spelled(tokenizer, cache) == text


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["bytes", "pieces"])
def test_half_a_character_is_neither_shown_nor_kept(tokenizer: PreTrainedTokenizerFast) -> None:
    cache = turn_cache(tokenizer)
    cache.align("ok ")
    ids = tokenizer.encode("\n🦜", add_special_tokens=False)
    ids = ids[ids.index(tokenizer.encode("\n", add_special_tokens=False)[-1]) + 1 :]
    assert "".join(cache.append(token) for token in ids[:-1]) == ""
    cache.align("ok ")
    assert spelled(tokenizer, cache) == "ok "
    assert "".join(cache.append(token) for token in ids) == "🦜"


def test_tokens_that_the_model_wrote_are_kept() -> None:
    tokenizer = tiny.byte_tokenizer()
    cache = turn_cache(tokenizer)
    odd = [token for letter in "the cat" for token in tokenizer.encode(letter)]  # not the tokenizer's own split
    text = "".join(cache.append(token) for token in odd)
    cache.align(text + " sat")
    assert cache.ids[-len(odd) - 1 : -1] == odd


def test_line_breaks_of_other_authors_are_split_as_before_a_word() -> None:
    tokenizer = tiny.byte_tokenizer()
    cache = turn_cache(tokenizer)
    before = len(cache.ids)
    cache.align("a.\n\n")
    assert cache.ids[before:] == tokenizer.encode("a.\n\nA")[:-1]

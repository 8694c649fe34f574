"""A pair is copied, saved as text or pickled; and its token ids are those of the small model."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest
from langchain_core.load import dumps

from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from langchain_spec_thinking import Backend

KEY = "sk-very-secret"
BACKENDS: dict[str, Backend] = {
    "a local model": tiny.backend(),
    "a server": OpenAIBackend("large", base_url="http://127.0.0.1:9/v1", api_key=KEY),
    "a backend of your own": ScriptedBackend("Yes."),
}
ALL = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())


def pair(backend: Backend) -> ChatSpeculativeThinking:
    return ChatSpeculativeThinking(speculative=backend, target=backend, max_tokens=7)


@ALL
def test_a_deep_copy_shares_the_backends(backend: Backend) -> None:
    copied = copy.deepcopy(pair(backend))
    assert copied.speculative is backend
    assert copied.max_tokens == 7


@ALL
def test_the_text_of_a_pair_names_its_class_and_no_secret(backend: Backend) -> None:
    text = dumps(pair(backend))
    assert "ChatSpeculativeThinking" in text
    assert KEY not in text


@pytest.mark.parametrize("name", ["a local model", "a server"])
def test_a_loaded_model_and_a_key_are_not_pickled(name: str) -> None:
    with pytest.raises(TypeError, match=r"Backend cannot be pickled.*Make the backend in the process that uses it"):
        pickle.dumps(pair(BACKENDS[name]))


def test_token_ids_are_those_of_the_small_model() -> None:
    ids = pair(tiny.backend()).get_token_ids("Wait, let me")
    assert ids == tiny.byte_tokenizer().encode("Wait, let me", add_special_tokens=False)
    assert len(ids) == pair(tiny.backend()).get_num_tokens("Wait, let me")


def test_a_model_without_a_tokenizer_has_no_token_ids() -> None:
    with pytest.raises(NotImplementedError, match="Pass `tokenizer=` to its backend"):
        pair(BACKENDS["a server"]).get_token_ids("Wait")


def test_a_function_of_the_user_gives_the_token_ids() -> None:
    model = ChatSpeculativeThinking(
        speculative=ScriptedBackend("Yes."),
        target=ScriptedBackend("No."),
        custom_get_token_ids=lambda text: [len(text)],
    )
    assert model.get_token_ids("Wait") == [4]

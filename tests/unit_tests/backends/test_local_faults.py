"""A local model whose logits are NaN or infinite, and requests that were cancelled inside a pass of the model."""

from __future__ import annotations

import copy
import math
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from langchain_spec_thinking.backends.base import Limitation, Piece, Request
from langchain_spec_thinking.errors import BackendError, InvalidRequestError
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_huggingface import continued, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


def test_a_request_that_still_runs_shares_no_cache_with_the_next_one() -> None:
    """A request may be cancelled while its thread is inside a pass of the model."""
    backend, running = tiny.backend(), turn()
    cancelled = backend.continue_turn(running, Request(40, temperature=0))
    next(cancelled)
    expected = continued(tiny.backend(), turn())
    assert continued(backend, running) == expected
    assert "".join(event.text for event in cancelled if isinstance(event, Piece)) == expected


@contextmanager
def replaced(model: Any, value: float, tokens: int | None = None) -> Iterator[None]:
    """Replace the logits of the first tokens of the vocabulary. NaN also gets into the KV cache."""
    module = model.get_input_embeddings() if math.isnan(value) else model.get_output_embeddings()

    def replace(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[..., :tokens] = value
        return output

    hook = module.register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("draft", ["", "the cat"], ids=["no draft", "a draft"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_numbers_are_an_error(value: float, temperature: float, draft: str) -> None:
    """Otherwise the model would write token 0, or torch would fail on the device."""
    model = copy.deepcopy(tiny.llama(2))
    backend, running = tiny.backend(model), turn()
    request = Request(40, temperature=temperature, draft=draft)
    failed = rf"logit is {value}.*float32 on cpu.*another `dtype`"
    with replaced(model, value), pytest.raises(BackendError, match=failed):
        list(backend.continue_turn(running, request))
    assert continued(backend, running) == continued(tiny.backend(tiny.llama(2)), turn())


def test_a_model_may_exclude_tokens() -> None:
    model = copy.deepcopy(tiny.llama(2))
    backend = tiny.backend(model)
    with replaced(model, -math.inf, tokens=4):
        assert continued(backend, turn())


def test_a_drafter_whose_logits_are_not_numbers_writes_nothing() -> None:
    model = copy.deepcopy(tiny.llama(2))
    drafter = tiny.backend(model).drafter(turn())
    assert drafter is not None
    with replaced(model, math.nan):
        assert drafter("", 5) == ("", 0)


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({"type": "x"}, '"x"'),
        ({"enum": []}, "enum"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"type": "string", "pattern": "("}, ""),
        ({"type": "integer", "minimum": 5, "maximum": 1}, "minimum"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_an_invalid_request(schema: dict[str, Any], wrong: str) -> None:
    """The error repeats what xgrammar says. A new version of xgrammar may say it in other words."""
    pytest.importorskip("xgrammar")
    running = turn(schema={"name": "x", "schema": schema})
    with pytest.raises(InvalidRequestError) as caught:
        continued(tiny.backend(), running)
    message = re.fullmatch(r"the JSON schema cannot be enforced \((.+)\)\. Correct the schema\.", str(caught.value))
    assert message, caught.value
    assert wrong in message[1]
    assert str(caught.value.__cause__).strip().rstrip(".").endswith(message[1])
    assert ".cc:" not in message[1]


def test_a_reply_says_that_nothing_enforces_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgrammar", None)  # as if it were not installed
    for running, says in ((turn(schema={"name": "x", "schema": {"type": "object"}}), True), (turn(), False)):
        events = list(tiny.backend().continue_turn(running, Request(4, temperature=0)))
        notes = [event.words for event in events if isinstance(event, Limitation)]
        assert ["not restricted to its JSON schema" in note for note in notes] == [True] * says


def test_a_conversation_that_the_template_refuses_is_an_invalid_request() -> None:
    tokenizer = copy.deepcopy(tiny.byte_tokenizer())
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') if messages[0].content == 'no' else 'ok' }}"
    backend = tiny.backend(tokenizer=tokenizer)
    with pytest.raises(InvalidRequestError, match=r"refuses this conversation .*roles must alternate"):
        continued(backend, turn("no"))

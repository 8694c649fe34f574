"""What type checkers read matches what runs: the types of the constructor, and the calls that `make type` checks."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

import langchain_spec_thinking
from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.chat_settings import ChatSettings
from tests.unit_tests.test_documents import PAGES, read

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = {"speculative", "target"}
WIDER = {"stop"}
"""Fields for which the constructor accepts more than they hold."""
CHECKED = "tests/typing/documented_calls.py"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([A-Z][^`\n]*\([^`\n]*\))`")


def arguments(code: str) -> set[str]:
    """Return the named arguments of all calls of the package's public names, for example `Budget(target_share)`."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return {
        f"{ast.unparse(call.func)}({keyword.arg})"
        for call in calls
        if ast.unparse(call.func).split(".")[0] in langchain_spec_thinking.__all__
        for keyword in call.keywords
        if keyword.arg
    }


def documented(page: str) -> Iterator[str]:
    """Yield the code of a page: its blocks, and the calls within its sentences."""
    yield from _BLOCK.findall(page)
    for call in _INLINE.findall(page):
        try:
            ast.parse(call)
        except SyntaxError:  # a sentence may abbreviate a call
            continue
        yield call


def test_the_types_of_the_constructor_name_every_setting_with_the_type_of_its_field() -> None:
    annotations = {name: hint.__forward_arg__ for name, hint in ChatSettings.__annotations__.items()}
    own = {
        name: annotation
        for name, annotation in ChatSpeculativeThinking.__annotations__.items()
        if name in ChatSpeculativeThinking.model_fields
    }
    assert {name: own[name] for name in own.keys() - MODELS - WIDER} == {
        name: annotations.get(name) for name in own.keys() - MODELS - WIDER
    }
    assert WIDER <= annotations.keys() <= ChatSpeculativeThinking.model_fields.keys() - MODELS


@pytest.mark.parametrize("page", PAGES)
def test_type_checkers_read_every_argument_that_a_page_shows(page: str) -> None:
    shown = {argument for code in documented(read(page)) for argument in arguments(code)}
    assert shown - arguments(read(CHECKED)) == set()


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("```python\nBudget(target_share=0.2, cost=other(name=1))\n```\n", {"Budget(target_share)", "Budget(cost)"}),
        ("Use `OpenAIBackend(..., api_key=...)`.", {"OpenAIBackend(api_key)"}),
        ("```python\nmodel = ChatSpeculativeThinking.pocket(seed=1)\n```\n", {"ChatSpeculativeThinking.pocket(seed)"}),
        ("```python\nprint(1, end='')\n```\n", set()),
        ("Say `Budget(target share=...)`.", set()),
    ],
)
def test_arguments_are_found_in_blocks_and_in_sentences(page: str, shown: set[str]) -> None:
    assert {argument for code in documented(page) for argument in arguments(code)} == shown

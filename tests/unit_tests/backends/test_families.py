"""Models with every kind of cache in transformers write the same text with this backend as with `generate`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from packaging.version import Version

from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.errors import ContinuationError
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.families import REFUSED, RUN, Family, cells
from tests.unit_tests.backends.test_huggingface import continued, turn

if TYPE_CHECKING:
    from langchain_spec_thinking import HuggingFaceBackend
    from langchain_spec_thinking.turn import Turn

PAGE = Path(__file__).parents[3] / "docs" / "backends.md"
WRITTEN = 8
"""Number of tokens that are compared after each hand-over."""
PROMPTS = ["the cat sat on the mat, and then", "What is 2 + 3? So we add two and three,"]


def named(families: list[Family]) -> list[Any]:
    return [pytest.param(family, id=family.name) for family in families if family.is_there]


@pytest.mark.parametrize("family", named(RUN))
def test_text_equals_that_of_generate_after_each_hand_over(family: Family) -> None:
    if family.name == "xLSTM" and not as_documented():
        pytest.skip("its own `generate` fails in transformers 5.0")
    model = family.model()
    try:
        backend = tiny.backend(model)
    except ContinuationError as e:
        if as_documented():
            raise
        pytest.skip(f"refused with an older version of transformers: {e}")
    turns = [turn(prompt) for prompt in PROMPTS]
    with ThreadPoolExecutor(2) as pool:
        pairs = [ids for turn_pairs in pool.map(lambda half: hand_overs(backend, half), turns) for ids in turn_pairs]
    for read, written in pairs:
        assert written == generated(model, read)[: len(written)]
    assert sum(len(written) for _, written in pairs) > 0.5 * WRITTEN * len(pairs)
    row = cells(backend, cache_of(backend, turns[0]))
    assert not as_documented() or (row, family.name) in table(), (
        f"docs/backends.md: expected {family.name} in the row {row}"
    )


def as_documented() -> bool:
    """Return whether transformers is at least the version that the table describes."""
    return Version(transformers.__version__) >= Version("5.24")


def hand_overs(backend: HuggingFaceBackend, half: Turn) -> list[tuple[list[int], list[int]]]:
    """Return what a model read and wrote, as token ids.

    The three pairs are: after the prompt, after a cropped draft with text of another author, and after more such text.
    """
    pairs = [written(backend, half)]
    draft = continued(backend, half, max_tokens=12)
    half.append("speculative", draft[: len(draft) // 2])
    half.append("target", " the rat.\n\nSo we")
    pairs.append(written(backend, half))
    half.append("target", " add")
    return [*pairs, written(backend, half)]


def written(backend: HuggingFaceBackend, half: Turn) -> tuple[list[int], list[int]]:
    cache = cache_of(backend, half)
    cache.align(backend._template.reply_text(half))  # noqa: SLF001
    read = [*cache.ids]
    list(backend.continue_turn(half, Request(WRITTEN, temperature=0)))
    return read, cache.ids[len(read) :]


def cache_of(backend: HuggingFaceBackend, half: Turn) -> Any:
    return backend._model.turn_cache(half, backend._template)  # noqa: SLF001


def generated(model: Any, read: list[int]) -> list[int]:
    output = model.generate(torch.tensor([read]), max_new_tokens=WRITTEN, do_sample=False, pad_token_id=0)
    return list(output[0, len(read) :].tolist())


def table() -> set[tuple[tuple[str, ...], str]]:
    """Parse the table in `docs/backends.md`. Return pairs of (the other cells, a family)."""
    lines = PAGE.read_text(encoding="utf-8").partition("### Which local models run")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines.splitlines() if line[:1] == "|"]
    return {(tuple(cells), family) for *cells, families in rows[2:] for family in families.split(", ")}


def test_the_table_names_no_other_families() -> None:
    assert {family for _, family in table()} == {family.name for family in RUN}


@pytest.mark.parametrize("family", named(REFUSED))
def test_a_model_that_cannot_continue_is_refused_at_construction(family: Family) -> None:
    with pytest.raises(ContinuationError, match=r"ForCausalLM|LMHeadModel.*Expected.*[Uu]se another model"):
        tiny.backend(family.model())
    assert f"`{family.name}" in PAGE.read_text(encoding="utf-8")

"""What the figures of local models count, on tiny models."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.speed.compiled import compile_gain
from benchmarks.speed.decoding import NAMES, decode_gain, weight_bytes
from benchmarks.speed.drafts import _described
from benchmarks.speed.lengths import QUESTION, _Times
from benchmarks.speed.pairs import PERIOD, Pair, _places
from benchmarks.speed.recording import Recording
from benchmarks.speed.sampling import samples_cost
from benchmarks.speed.timing import generate
from langchain_spec_thinking.backends.local.drafts import DraftPace
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_recorded_pass import FixedMemory

TOKENS = 20


@pytest.fixture(scope="module")
def scripted() -> Pair:
    return Pair.shaped(quick=True)


@pytest.fixture
def bar() -> tqdm[None]:
    return tqdm(disable=True)


def test_two_samples_read_their_prompt_once(scripted: Pair, bar: tqdm[None]) -> None:
    details = samples_cost(scripted, TOKENS, 1, bar).details
    assert 1 <= details["prompt_reads"] < 1.1  # the last token of the prompt is read twice
    assert 1 <= details["passes"] <= 2


def test_generate_and_the_backend_decode_the_same_text(scripted: Pair, bar: tqdm[None]) -> None:
    models = decode_gain(scripted, TOKENS, 2, bar).details["models"]
    assert [models[name]["details"]["same_text"] for name in NAMES] == [1, 1]


def test_each_measurement_reads_the_whole_prompt(scripted: Pair) -> None:
    first, second = (Recording.of(scripted.chat(max_tokens=PERIOD), scripted.models, QUESTION) for _ in range(2))
    assert [step.ids for step in first.passes] == [step.ids for step in second.passes]


def test_the_text_of_a_script_depends_only_on_the_place(scripted: Pair) -> None:
    tokenizer = scripted.tokenizers[0]
    written = generate(scripted.models[0], tokenizer, QUESTION, "", TOKENS)
    ids = tokenizer.encode(written, add_special_tokens=False)
    assert len(ids) == TOKENS
    later = generate(scripted.models[0], tokenizer, QUESTION, str(tokenizer.decode(ids[:5])), TOKENS - 5)
    assert written == f"{tokenizer.decode(ids[:5])}{later}"


@pytest.mark.parametrize(("kept", "expected"), [([2], [7]), ([0, 1, 2], [3, 4, 7])])
def test_a_script_knows_the_places_in_a_shared_pass(kept: list[int], expected: list[int]) -> None:
    inputs = {"turns": [], "position_ids": torch.tensor([[3, 4, 7]]), "logits_to_keep": torch.tensor(kept)}
    assert list(_places(inputs, "cache", len(kept))) == expected


def test_a_pass_does_not_read_the_input_embeddings() -> None:
    model = tiny.llama(vocabulary=100)
    unread = 100 * model.config.hidden_size * 4
    assert weight_bytes(model) == sum(weight.nbytes for weight in model.parameters()) - unread


def test_the_speedup_of_a_long_turn_has_a_bound() -> None:
    times = _Times(ours=[2.0, 2.0, 9.0], ideal=[1.0, 1.0, 9.0], naive={0: 4.0, 2: 8.0})
    assert times.speedup(2 * PERIOD) == (4 + 6) / (2 + 2)
    assert times.bound(2 * PERIOD) == (4 + 6) / (1 + 1)


def test_the_pace_of_drafts_says_at_which_ratio_of_speeds_they_pay() -> None:
    pace = DraftPace(drafts=2, drafted=12, written=10, draft_seconds=6, check_seconds=4, pass_seconds=deque([1.0] * 3))
    assert _described(pace) == {
        "drafts": 2,
        "drafted": 6,
        "written": 5,
        "drafted_token": 0.5,
        "check": 2,
        "speedup": 1.0,  # 5 tokens in 6 x 0.5 + 2 seconds, in place of 5 seconds
        "break_even": 2,
    }


def test_recorded_passes_write_the_same_text_as_usual_ones(bar: tqdm[None]) -> None:
    models = compile_gain(Pair.shaped(quick=True), TOKENS, 2, bar, lambda _: FixedMemory()).details["models"]
    assert [models[name]["details"]["same_text"] for name in NAMES] == [1, 1]

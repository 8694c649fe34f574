"""Reasoning mode on two real models, small enough to come with the package."""

from __future__ import annotations

import json
import math
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors import safe_open
from transformers import LlamaConfig

from benchmarks.pocket.alone import Score
from benchmarks.pocket.cards import card
from benchmarks.pocket.learning import Progress
from benchmarks.pocket.problems import problems
from benchmarks.pocket.recipes import RECIPES, Name, blank
from benchmarks.pocket.traces import RECAP_FROM, trace
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, RandomTrigger, pocket
from langchain_spec_thinking.backends.local.loading import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FOLDER = Path(pocket.__file__).parent
NAMES: tuple[Name, ...] = ("pocket-small", "pocket-large")
LARGEST = 24 * 1000**2
"""Bytes that the weights of both models may take together."""
PROBLEMS = list(islice(problems(2, "held_out"), 20))
"""The problems in the package, with their steps."""
QUESTION = max(pocket.problems(), key=lambda problem: len(problem.question)).question
"""A problem of many steps."""


def report(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return found


def thought(message: Any) -> str:
    return "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")


@pytest.fixture(scope="module")
def solved() -> list[Any]:
    """What the pair makes of the problems that come with it."""
    model = ChatSpeculativeThinking.pocket()
    return model.batch([problem.question for problem in pocket.problems()], config={"max_concurrency": 20})


@pytest.fixture(scope="module")
def tokenizers() -> list[PreTrainedTokenizerBase]:
    """Return the tokenizers of the small and of the large model."""
    return [load_tokenizer(str(FOLDER / name)) for name in NAMES]


@pytest.fixture(scope="module")
def written() -> list[str]:
    """Return held-out problems, each with a text like those that the models learned to write."""
    rng = random.Random(0)  # noqa: S311 - repeatable, not secret
    return [
        f"{problem.text}\n\n{''.join(piece.text for piece in trace(problem, rng))}"
        for problem in islice(problems(0, "held_out"), 200)
    ]


def parameters(name: str) -> int:
    """Return the number of parameters in the file of the weights."""
    with safe_open(FOLDER / name / "model.safetensors", "pt") as weights:
        return sum(math.prod(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118 - no mapping


def test_the_problems_come_from_the_held_out_set() -> None:
    """Neither model was trained on held-out problems. These are the first ones of a seed, so none was chosen."""
    expected = [(problem.text, problem.answer) for problem in islice(problems(2, "held_out"), pocket.PROBLEMS)]
    assert [(problem.question, problem.answer) for problem in pocket.problems(pocket.PROBLEMS)] == expected
    assert pocket.problems() == pocket.problems(pocket.PROBLEMS)[: len(PROBLEMS)]


@pytest.mark.parametrize("count", [0, -1, pocket.PROBLEMS + 1])
def test_more_problems_than_there_are_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"expected a count from 1 to 200, got {count}"):
        pocket.problems(count)


def test_the_weights_are_small_enough_to_ship() -> None:
    assert sum((FOLDER / name / "model.safetensors").stat().st_size for name in NAMES) < LARGEST


def test_the_large_model_has_at_least_five_times_the_parameters() -> None:
    small, large = map(parameters, NAMES)
    assert large >= 5 * small


@pytest.mark.parametrize("number", [0, 1], ids=NAMES)
def test_the_recipe_and_the_card_describe_the_model(tokenizers: list[Any], number: int) -> None:
    name = NAMES[number]
    recipe, folder = RECIPES[name], FOLDER / name
    progress = Progress(**json.loads((folder / "training.json").read_text(encoding="utf-8")))
    assert progress.steps == recipe.steps
    model = blank(recipe, tokenizers[number])
    shipped = LlamaConfig.from_pretrained(folder)
    for field in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        assert getattr(model.config, field) == getattr(shipped, field)
    written = card(recipe, model, progress, Score(right=1, total=2, mean_tokens=0, outputs=())).splitlines()
    measured = ("| Greedy accuracy", "| Mean output")
    expected = [line for line in written if not line.startswith(measured)]
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith(measured)] == expected


def test_the_models_have_different_vocabularies(tokenizers: list[PreTrainedTokenizerBase], written: list[str]) -> None:
    """Both split some texts into other tokens, and most of the common tokens have another number."""
    small, large = tokenizers
    assert any(small.tokenize(text) != large.tokenize(text) for text in written)
    ids, other_ids = small.get_vocab(), large.get_vocab()
    common = ids.keys() & other_ids.keys()
    assert sum(ids[token] != other_ids[token] for token in common) > len(common) / 2


def test_the_same_text_has_about_as_many_tokens_for_both(written: list[str]) -> None:
    for text in written:
        counts = [backend.count_tokens(text) or 0 for backend in (pocket.speculative(), pocket.target())]
        assert max(counts) <= 1.2 * min(counts)


@pytest.mark.parametrize("model", [0, 1], ids=NAMES)
def test_a_text_that_is_cut_after_any_token_has_the_same_tokens(
    tokenizers: list[PreTrainedTokenizerBase], written: list[str], model: int
) -> None:
    """`make faults` relies on this: it cuts streams, and each turn must end like the turn without cuts."""
    tokenizer = tokenizers[model]
    for text in written[:20]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        for end in range(len(ids)):
            assert tokenizer.encode(str(tokenizer.decode(ids[:end])), add_special_tokens=False) == ids[:end]


def test_concurrent_threads_share_one_model() -> None:
    pocket._loaded.cache_clear()  # noqa: SLF001
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda number: (pocket.speculative, pocket.target)[number % 2](), range(8)))
    assert len({id(backend) for backend in loaded}) == 2


def test_each_turn_has_one_thought_and_one_answer(solved: list[Any]) -> None:
    for message, problem in zip(solved, PROBLEMS, strict=True):
        assert "</think>" not in thought(message) + message.text
        assert pocket.boxed(message.text) is not None
        assert thought(message).count("\n\n") >= min(2, len(problem.steps))


def test_the_target_takes_over_if_the_small_model_reflects(solved: list[Any]) -> None:
    """Each turn of a long problem ends in a verification, and the target writes that."""
    kinds: set[str] = set()
    for message, problem in zip(solved, PROBLEMS, strict=True):
        found = report(message)
        by_target = [segment for segment in found["segments"] if segment["author"] == "target"]
        if len(problem.steps) >= RECAP_FROM:
            assert "verification" in {segment["kind"] for segment in by_target}
        assert (found["takeovers"] > 0) == bool(by_target)
        assert found["target_share"] < 0.5
        assert found["degraded"] == []
        kinds |= {segment["cue"] for segment in by_target if segment["kind"] == "reflection"}
    assert kinds >= {"wait", "hold on"}


def test_segments_join_to_the_text(solved: list[Any]) -> None:
    for message in solved:
        shown = {"thinking": thought(message), "answer": message.text}
        for channel, text in shown.items():
            segments = [segment for segment in report(message)["segments"] if segment["channel"] == channel]
            assert [segment["start"] for segment in segments[1:]] == [segment["end"] for segment in segments[:-1]]
            assert (segments[0]["start"], segments[-1]["end"]) == (0, len(text))


def test_most_answers_are_right(solved: list[Any]) -> None:
    right = [pocket.boxed(message.text) == problem.answer for message, problem in zip(solved, PROBLEMS, strict=True)]
    assert sum(right) >= 16


def test_streaming_and_invoking_give_the_same_message(solved: list[Any]) -> None:
    message = solved[[problem.text for problem in PROBLEMS].index(QUESTION)]
    chunks = list(ChatSpeculativeThinking.pocket().stream(QUESTION))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert len(chunks) > 50
    assert (thought(whole), whole.text) == (thought(message), message.text)


def test_a_model_paired_with_itself_writes_the_same_as_alone() -> None:
    small = pocket.speculative()
    never = DelegationPolicy(trigger=RandomTrigger(0))
    for question in (PROBLEMS[0].text, QUESTION):
        texts = []
        for policy in (never, DelegationPolicy(), DelegationPolicy.non_reasoning(takeover_tokens=None)):
            message = ChatSpeculativeThinking.pocket(target=small, policy=policy).invoke(question)
            texts.append(thought(message) + message.text)
        assert texts[0] == texts[1] == texts[2]


def test_too_much_reflection_is_cut_off(solved: list[Any]) -> None:
    reflections = [
        [segment["kind"] for segment in report(message)["segments"]].count("reflection") for message in solved
    ]
    question = PROBLEMS[reflections.index(max(reflections))].text
    policy = DelegationPolicy(reflection_limit=1)
    message = ChatSpeculativeThinking.pocket(policy=policy).invoke(question)
    kinds = [segment["kind"] for segment in report(message)["segments"]]
    assert "excessive_reflection" in kinds
    assert policy.recap_sentence in thought(message)
    assert message.text.strip()


def test_settings_override_the_defaults() -> None:
    model = ChatSpeculativeThinking.pocket(answer_by="target", max_tokens=900, temperature=0.7)
    assert (model.answer_by, model.max_tokens, model.temperature) == ("target", 900, 0.7)
    answer = [segment for segment in report(model.invoke(QUESTION, seed=1))["segments"] if segment["kind"] == "answer"]
    assert {segment["author"] for segment in answer} == {"target"}


async def test_a_turn_is_streamed_asynchronously(solved: list[Any]) -> None:
    texts = [chunk.text async for chunk in ChatSpeculativeThinking.pocket().astream(PROBLEMS[0].text)]
    assert "".join(texts) == solved[0].text

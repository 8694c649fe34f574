"""Reasoning mode on two real models, small enough to come with the package."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pocket.problems import problems
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, RandomTrigger, pocket

LARGEST = 24 * 2**20
"""Bytes that both checkpoints may take."""
QUESTION = pocket.problems()[0].question


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


def test_the_problems_come_from_the_held_out_set() -> None:
    expected = [(problem.text, problem.answer) for problem in islice(problems(2, "held_out"), 20)]
    assert [(problem.question, problem.answer) for problem in pocket.problems()] == expected


def test_the_checkpoints_are_small_enough_to_ship() -> None:
    folder = Path(pocket.__file__).parent
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < LARGEST


def test_the_models_have_different_vocabularies() -> None:
    assert pocket.speculative().count_tokens("hold on") > pocket.target().count_tokens("hold on")


def test_concurrent_threads_share_one_model() -> None:
    pocket._loaded.cache_clear()  # noqa: SLF001
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda number: (pocket.speculative, pocket.target)[number % 2](), range(8)))
    assert len({id(backend) for backend in loaded}) == 2


def test_each_turn_has_one_thought_and_one_answer(solved: list[Any]) -> None:
    for message in solved:
        assert "</think>" not in thought(message) + message.text
        assert pocket.boxed(message.text) is not None
        assert thought(message).count("\n\n") >= 2


def test_the_target_takes_over_if_the_small_model_reflects(solved: list[Any]) -> None:
    """Every turn verifies before it answers, and the target writes that."""
    kinds: set[str] = set()
    for message in solved:
        found = report(message)
        by_target = [segment for segment in found["segments"] if segment["author"] == "target"]
        assert found["takeovers"] >= 1
        assert "verification" in {segment["kind"] for segment in by_target}
        assert 0 < found["target_share"] < 0.5
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
    right = [
        pocket.boxed(message.text) == problem.answer for message, problem in zip(solved, pocket.problems(), strict=True)
    ]
    assert sum(right) >= 16  # the small one alone: 13 or 14


def test_streaming_and_invoking_give_the_same_message(solved: list[Any]) -> None:
    chunks = list(ChatSpeculativeThinking.pocket().stream(QUESTION))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert len(chunks) > 50
    assert (thought(whole), whole.text) == (thought(solved[0]), solved[0].text)


def test_a_model_paired_with_itself_writes_the_same_as_alone() -> None:
    large = pocket.target()
    never = DelegationPolicy(trigger=RandomTrigger(0))
    for question in [problem.question for problem in pocket.problems()[:2]]:
        texts = []
        for policy in (never, DelegationPolicy(), DelegationPolicy.non_reasoning(takeover_tokens=None)):
            message = ChatSpeculativeThinking.pocket(speculative=large, policy=policy).invoke(question)
            texts.append(thought(message) + message.text)
        assert texts[0] == texts[1] == texts[2]


def test_too_much_reflection_is_cut_off() -> None:
    policy = DelegationPolicy(reflection_limit=1)
    message = ChatSpeculativeThinking.pocket(policy=policy).invoke(QUESTION)
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
    texts = [chunk.text async for chunk in ChatSpeculativeThinking.pocket().astream(QUESTION)]
    assert "".join(texts) == solved[0].text

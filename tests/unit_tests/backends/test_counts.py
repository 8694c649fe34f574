"""The cost of a turn on two local models: passes, tokens read, requests and drafts, counted at the models' inputs."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice

import pytest

from benchmarks.pocket.problems import problems
from benchmarks.speed.pairs import ALWAYS, PERIOD, TAKEOVER, Pair
from benchmarks.speed.recording import AUTHORS, Recording
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.policy.thinking_limit import ThinkingLimit
from tests.unit_tests.backends import tiny

EXCESS = 2
"""Largest number of tokens that a model reads at a hand-over in addition to the new ones."""
HARDEST = sorted(islice(problems(2, "held_out"), 100), key=lambda problem: problem.difficulty)[-3:]
"""Problems whose solutions have many cues."""
NON_REASONING = DelegationPolicy.non_reasoning(opening_tokens=TAKEOVER, takeover_tokens=TAKEOVER)


@pytest.fixture(scope="module")
def scripted() -> Pair:
    """Return a pair that writes words, with a blank line every `PERIOD` tokens."""
    return Pair.shaped(quick=True)


@pytest.fixture(scope="module")
def pocket_pair() -> Pair:
    return Pair.pocket()


@pytest.fixture(scope="module")
def characters_and_words() -> Pair:
    """Return a pair with random text. The tokens of its small model are characters."""
    tokenizers = (tiny.byte_tokenizer(vocabulary=0), tiny.byte_tokenizer())
    return Pair("random, tiny", deepcopy((tiny.llama(2, vocabulary=len(tokenizers[0])), tiny.llama())), tokenizers)


def turn(pair: Pair, tokens: int, question: str = "Go on.", policy: DelegationPolicy = ALWAYS) -> Recording:
    return Recording.of(pair.chat(max_tokens=tokens, policy=policy), pair.models, question)


def read_by(turn: Recording, model: int) -> int:
    return sum(len(step.ids) for step in turn.passes if step.model == model)


def hand_overs(turn: Recording) -> int:
    return sum(usage.requests for usage in turn.usage.values()) - 1


@pytest.mark.parametrize("tokens", [256, 512, 1024])
def test_each_model_reads_about_the_tokens_of_the_turn(scripted: Pair, tokens: int) -> None:
    written = turn(scripted, tokens)
    thought = ThinkingLimit.of(tokens).soft  # the small model writes the rest alone: the answer
    assert hand_overs(written) >= 2 * (thought // PERIOD - 1)
    for model, author in enumerate(AUTHORS):
        usage = written.usage[author]
        most = written.tokens[model] + usage.discarded_tokens + EXCESS * usage.requests
        assert thought - PERIOD <= read_by(written, model) <= most  # the last text of the other model is not read


@pytest.mark.parametrize("policy", [ALWAYS, DelegationPolicy(), NON_REASONING], ids=["always", "cues", "non-reasoning"])
@pytest.mark.parametrize("number", range(3))
def test_a_hand_over_reads_only_new_text(pocket_pair: Pair, number: int, policy: DelegationPolicy) -> None:
    """The two vocabularies differ."""
    assert_only_new_text_is_read(turn(pocket_pair, 250, HARDEST[number].text, policy))


@pytest.mark.parametrize("policy", [ALWAYS, NON_REASONING], ids=["always", "non-reasoning"])
@pytest.mark.parametrize("question", ["abc", "Go on.", "a b c d"])
def test_a_hand_over_inside_a_word_reads_only_new_text(
    characters_and_words: Pair, question: str, policy: DelegationPolicy
) -> None:
    """The tokens of the small model are characters, so each model continues words that the other model began."""
    assert_only_new_text_is_read(turn(characters_and_words, 300, question, policy))


def assert_only_new_text_is_read(written: Recording) -> None:
    assert len(written.read_again) >= 2
    assert max(written.read_again) <= EXCESS
    for model in (0, 1):
        usage = written.usage[AUTHORS[model]]
        most = written.tokens[model] + usage.discarded_tokens + EXCESS * usage.requests
        assert read_by(written, model) <= most


def test_each_kept_token_takes_one_pass_of_its_author(scripted: Pair) -> None:
    written = turn(scripted, 300)
    kept = [usage.completion_tokens - usage.discarded_tokens for usage in written.usage.values()]
    assert [sum(step.model == model for step in written.needed) for model in (0, 1)] == kept
    made = [sum(step.model == model for step in written.passes) for model in (0, 1)]
    assert made == [usage.completion_tokens for usage in written.usage.values()]
    for model in (0, 1):  # and each pass reads only new tokens
        read = [step for step in written.needed if step.model == model]
        assert [step.past for step in read] == [sum(len(step.ids) for step in read[:i]) for i in range(len(read))]


def test_a_takeover_is_one_request_to_each_model(scripted: Pair) -> None:
    chat = scripted.chat(max_tokens=14 * PERIOD)
    report = chat.invoke("Go on.").response_metadata["speculative_thinking"]
    assert report["takeovers"] >= 9
    assert report["usage"]["target"]["requests"] == report["takeovers"]
    drafts_and_answer = report["usage"]["speculative"]["requests"]
    assert drafts_and_answer - report["takeovers"] in {1, 2}


def test_without_takeovers_nothing_is_dropped_and_the_target_gets_no_request() -> None:
    models = deepcopy((tiny.llama(), tiny.llama(1)))  # copies: turns of other tests left no prompts in their caches
    small, large = map(tiny.backend, models)
    pair = ChatSpeculativeThinking(speculative=small, target=large, temperature=0, max_tokens=60)
    written = Recording.of(pair, models, "a b c d")
    assert hand_overs(written) == 0
    assert written.needed == written.passes
    assert len(written.passes) - written.usage["speculative"].completion_tokens in {
        0,
        1,
    }  # one more if the model ends the turn itself


@pytest.mark.parametrize("policy", [ALWAYS, NON_REASONING], ids=["always", "non-reasoning"])
def test_no_draft_is_written_if_none_is_needed(scripted: Pair, policy: DelegationPolicy) -> None:
    """One token is dropped per takeover and at the end of the thought: the one that shows where the blank lines end."""
    written = turn(scripted, 14 * PERIOD, policy=policy)
    takeovers = written.usage["target"].requests
    assert takeovers >= 8
    assert written.usage["speculative"].discarded_tokens <= takeovers + 1
    assert written.usage["target"].discarded_tokens <= takeovers  # the last word, which may be incomplete

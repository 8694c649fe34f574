"""Drafts that the target checks do not change the text, and save passes. Tested on tiny models with random weights."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from scipy.stats import chisquare  # type: ignore[import-untyped]
from transformers import DynamicCache

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, HuggingFaceBackend
from langchain_spec_thinking.backends.base import Piece, Request, Usage
from langchain_spec_thinking.backends.local.drafts import FIRST_TOKENS, MEASURED_DRAFTS, DraftPace, Drafts
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_batched_forward import passes
from tests.unit_tests.backends.test_huggingface import POLICIES, PROMPTS, continued, counting, turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

EVERY_LINE = DelegationPolicy(boundary="\n", takeover_every_boundary=True, takeover_tokens=12, opening_tokens=10)
SAMPLES = 1500


def sibling(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model that mostly agrees with another one, like models of one family."""
    torch.manual_seed(7)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.01 * weight.std() * torch.randn_like(weight))
    return other


def always_drafted(model: PreTrainedModel) -> HuggingFaceBackend:
    """Return a target for which no time passes, so that drafts always pay."""
    backend = tiny.backend(model)
    backend._clock = lambda: 0.0  # noqa: SLF001 - users have no use for another clock
    return backend


def speculative(kind: str, target: PreTrainedModel) -> HuggingFaceBackend:
    if kind == "sibling":
        return tiny.backend(sibling(target))
    tokenizer = tiny.piece_tokenizer()
    return tiny.backend(tiny.llama(0, vocabulary=len(tokenizer)), tokenizer)


@pytest.mark.parametrize("temperature", [0, 0.8])
@pytest.mark.parametrize("kind", ["sibling", "other vocabulary"])
@pytest.mark.parametrize("target", [tiny.llama(1), tiny.sliding(1)], ids=["llama", "sliding"])
def test_text_is_the_same_with_drafts_and_without(target: PreTrainedModel, kind: str, temperature: float) -> None:
    accepted = 0
    for policy in POLICIES:
        pair: dict[str, Any] = {
            "speculative": speculative(kind, target),
            "target": always_drafted(target),
            "policy": policy,
            "temperature": temperature,
            "seed": 3,
            "max_tokens": 60,
        }
        for prompt in PROMPTS[:2]:
            messages = [
                ChatSpeculativeThinking(**pair, draft_verification=which).invoke(prompt)
                for which in ("off", "replaced", "ahead")
            ]
            reports = [message.response_metadata["speculative_thinking"] for message in messages]
            authors = [[(s["author"], s["kind"], s["start"]) for s in report["segments"]] for report in reports]
            assert [message.text for message in messages] == 3 * [messages[0].text]
            assert authors == 3 * [authors[0]]
            assert reports[0]["drafts"] == {"accepted_tokens": 0, "written_tokens": 0}
            accepted += reports[2]["drafts"]["accepted_tokens"]
    if kind == "sibling":
        # Older versions of transformers cannot crop windows, so no draft is checked with them.
        checks_drafts = target.config.model_type == "llama" or hasattr(DynamicCache, "is_croppable")
        assert (accepted > 20) is checks_drafts


@pytest.mark.parametrize("which", ["off", "ahead"])
def test_drafts_save_passes_of_the_target(which: Any) -> None:
    """The drafter is a copy of the target. So the target keeps all confident draft tokens, several per pass."""
    model = tiny.llama(2)
    twin = copy.deepcopy(model)
    pair = ChatSpeculativeThinking(
        speculative=tiny.backend(twin),
        target=always_drafted(model),
        policy=EVERY_LINE,
        temperature=0,
        max_tokens=80,
        draft_verification=which,
    )
    with passes(model, lambda _: None) as read:
        report = pair.invoke("the cat sat").response_metadata["speculative_thinking"]
    written = report["usage"]["target"]["completion_tokens"]
    accepted = report["drafts"]["accepted_tokens"]
    assert written > 30
    # Accepted tokens need no pass of their own. A takeover may end before it has used its last draft.
    assert 0 <= len(read) + accepted - written <= report["usage"]["target"]["requests"]
    assert accepted == 0 if which == "off" else accepted > written / 3


def test_the_draft_that_a_takeover_replaces_is_checked_in_one_pass() -> None:
    backend = tiny.backend(tiny.llama(1))
    alone = continued(backend, turn(), max_tokens=20)
    for draft in (alone, f"{alone[:9]}nothing of the kind"):
        with passes(tiny.llama(1), lambda _: None) as read:
            text, accepted = checked(backend, draft, 20)
        assert text == alone
        assert accepted > 2
        assert len(read) == 20 - accepted


def test_a_rejected_draft_costs_only_its_tokens() -> None:
    models = [copy.deepcopy(tiny.llama(1)) for _ in range(2)]  # copies without caches of other tests
    backends, draft = [tiny.backend(model) for model in models], "nothing of the kind"
    with counting(models) as read:
        alone = continued(backends[0], turn(), max_tokens=20)
        assert checked(backends[1], draft, 20) == (alone, 0)
    assert read[1] - read[0] == backends[0].count_tokens(draft)


def checked(backend: HuggingFaceBackend, draft: str, tokens: int) -> tuple[str, int]:
    """Check a draft. Return the text and the number of accepted draft tokens."""
    events = list(backend.continue_turn(turn(), Request(tokens, temperature=0, draft=draft)))
    usages = [event.accepted_tokens for event in events if isinstance(event, Usage)]
    return "".join(event.text for event in events if isinstance(event, Piece)), usages[-1] or 0


@pytest.mark.parametrize("draft", ["", "the cat", "\n\n"])
def test_sampled_text_has_the_distribution_of_the_target(draft: str) -> None:
    """The test samples second tokens after a fixed first one. A rule that kept the draft too often would show here."""
    backend = tiny.backend(tiny.llama(1))
    half = turn()
    half.append("target", "the")
    observed = Counter(second(backend, half, draft, seed) for seed in range(SAMPLES))
    expected = probabilities(backend, half)
    assert matches(observed, expected)
    if draft:  # keeping the draft in another tenth of the cases would fail the test
        first = continued(backend, half, max_tokens=1)[:1]
        assert not matches(observed + Counter({first: SAMPLES // 10}), expected)


def second(backend: HuggingFaceBackend, half: Turn, draft: str, seed: int) -> str:
    return continued(backend, half, max_tokens=1 if not draft else 2, temperature=1.0, seed=seed, draft=draft)[:1]


def probabilities(backend: HuggingFaceBackend, half: Turn) -> dict[str, float]:
    """Return the probabilities of the first character of the next token."""
    tokenizer = tiny.byte_tokenizer()
    cache = backend._model.turn_cache(half, backend._template)  # noqa: SLF001
    cache.align(backend._template.reply_text(half))  # noqa: SLF001
    with torch.inference_mode():
        scores = tiny.llama(1)(input_ids=torch.tensor([cache.ids])).logits[0, -1].softmax(-1)
    found: dict[str, float] = defaultdict(float)
    for token, probability in enumerate(scores.tolist()):
        ends = token in backend._model.eos  # noqa: SLF001
        text = "" if ends else str(tokenizer.decode([token], skip_special_tokens=True))
        found[text[:1]] += probability
    return found


def matches(observed: Counter[str], expected: dict[str, float]) -> bool:
    common = [text for text, probability in expected.items() if probability * SAMPLES >= 20 and text]
    total = observed.total()
    counts = [observed[text] for text in common]
    expected_counts = [expected[text] * total for text in common]
    rest = total - sum(counts), total - sum(expected_counts)
    return bool(chisquare([*counts, rest[0]], [*expected_counts, rest[1]]).pvalue > 1e-4)


def test_a_drafter_that_fails_writes_nothing() -> None:
    model, running = copy.deepcopy(tiny.llama(0)), turn()
    write = tiny.backend(model).drafter(running)
    assert write is not None
    assert any(write(text, 3)[1] for text in tiny.CORPUS)
    assert write("so ", 2 * tiny.CONTEXT) == ("", 0)  # more than the context

    def fail(*_: object) -> None:
        raise MemoryError

    handle = model.register_forward_pre_hook(fail)
    assert write("so much ", 3) == ("", 0)
    handle.remove()


@pytest.mark.parametrize(
    ("kept", "lengths"),
    [
        ([True] * 6, [4, 6, 8, 10, 12, 12]),
        ([False] * 5, [4, 3, 2, 1, 1]),
        ([True, False, True], [4, 6, 5]),
    ],
)
def test_drafts_grow_if_kept_and_shrink_if_not(kept: Sequence[bool], lengths: list[int]) -> None:
    requested: list[int] = []

    def write(_: str, tokens: int) -> tuple[str, int]:
        requested.append(tokens)
        return "a b", tokens

    backend = tiny.backend()
    # No other test has read this prompt, so no pass is measured: it reads more than one token.
    cache = backend._model.turn_cache(Turn((Message("user", "grow or shrink"),)), backend._template)  # noqa: SLF001
    drafts = Drafts(Request(99, drafter=write), cache)
    for all_kept in kept:
        checking = drafts.next(50)
        drafts.record_result([*checking, 0] if all_kept else [0])
    assert requested == lengths
    assert requested[0] == FIRST_TOKENS


@dataclass
class TimedPair:
    """A pair of equal models whose passes take a given time on a fake clock.

    Attributes:
        small: Seconds of a pass of the small model.
        large: Seconds of a pass of the large model.
    """

    small: float
    large: float
    time: float = 0.0

    def turn(self, **settings: Any) -> dict[str, Any]:
        """Write a turn, most of it by the large model. Return its report."""
        models = [copy.deepcopy(tiny.llama(2)) for _ in range(2)]
        small, large = (tiny.backend(model) for model in models)
        large._clock = lambda: self.time  # noqa: SLF001 - users have no use for another clock
        for model, seconds in zip(models, (self.small, self.large), strict=True):
            model.register_forward_pre_hook(partial(self._pass, seconds))
        pair = ChatSpeculativeThinking(
            speculative=small, target=large, policy=EVERY_LINE, temperature=0, max_tokens=120, **settings
        )
        message = pair.invoke("the cat sat")
        return {**message.response_metadata["speculative_thinking"], "text": message.text}

    def _pass(self, seconds: float, *_: object) -> None:
        self.time += seconds


def test_drafts_end_in_a_turn_in_which_they_do_not_pay() -> None:
    without = TimedPair(1, 1).turn(draft_verification="off")
    slow_small, fast_small = (TimedPair(small, 1).turn(draft_verification="ahead") for small in (2, 0.1))
    assert slow_small["text"] == fast_small["text"] == without["text"]
    # The first drafts are written to measure their time. All their tokens are kept, because the models are equal.
    assert 0 < slow_small["drafts"]["written_tokens"] <= 4 + 6 + 8 + 10
    assert fast_small["drafts"]["written_tokens"] > 2 * slow_small["drafts"]["written_tokens"]


def test_drafts_end_if_their_author_is_too_unsure_to_write_any() -> None:
    asked, time = 0, 0.0

    def write(_: str, __: int) -> tuple[str, int]:
        nonlocal asked, time
        asked, time = asked + 1, time + 5
        return "", 0

    backend = tiny.backend()
    half = Turn((Message("user", "unsure"),))
    cache = backend._model.turn_cache(half, backend._template)  # noqa: SLF001
    list(backend.continue_turn(half, Request(1)))  # only the last token is missing in the cache
    drafts = Drafts(Request(99, drafter=write), cache, lambda: time)
    for _ in range(30):
        drafts.next(50)
        time += 1
        drafts.record_result([0])
    assert asked == MEASURED_DRAFTS


HALF = deque([0.5, 0.5, 99.0])
"""Times of passes, one of which took long because it was recorded."""


@pytest.mark.parametrize(
    ("pace", "wants"),
    [
        (DraftPace(), True),
        (DraftPace(drafts=3, drafted=12, written=3, draft_seconds=99), True),
        (DraftPace(drafts=4, drafted=16, written=20, draft_seconds=4), False),
        (
            DraftPace(drafts=4, drafted=16, written=20, draft_seconds=4, check_seconds=5, pass_seconds=HALF),
            True,
        ),
        (
            DraftPace(drafts=4, drafted=16, written=16, draft_seconds=4, check_seconds=5, pass_seconds=HALF),
            False,
        ),
        (DraftPace(drafts=4, drafted=16, written=20, pass_seconds=deque([0.0] * 3)), True),
    ],
    ids=[
        "at the start",
        "too few drafts",
        "no pass without a draft yet",
        "faster",
        "slower",
        "a clock that stands still",
    ],
)
def test_a_turn_writes_drafts_that_pay(pace: DraftPace, wants: bool) -> None:
    assert pace.wants_draft is wants

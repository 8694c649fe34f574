"""Each trigger alone, and in the policy."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from langchain_spec_thinking import (
    AllOf,
    AnyOf,
    Cue,
    CueTrigger,
    Draft,
    FirstTokenEntropy,
    Lexicon,
    RandomTrigger,
    ScoreAndAccept,
    TargetLeads,
    Trigger,
)
from langchain_spec_thinking.policy import Delegation, DelegationPolicy, ScoreRequest
from langchain_spec_thinking.policy.commands import Generate, Note
from langchain_spec_thinking.policy.data import as_data, policy_from_data
from langchain_spec_thinking.policy.triggers import NO_LOGPROBS, TRIGGERS, TunableParameter, register_trigger
from langchain_spec_thinking.policy.triggers.entropy import entropy
from tests.unit_tests.policy.policy_runs import Stream, as_one_chunk, run_policy, transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.policy.triggers import Decision

LENGTH: Final = "length"
FLAT, PEAKED = (-2.0,) * 4, (-0.1, -5.0)
ENTROPY = FirstTokenEntropy()
SCORE = ScoreAndAccept(question=" ?")
LEADS = TargetLeads()


def tokens(*pieces: str | tuple[str, tuple[float, ...]], reason: Any = "stop") -> Stream:
    """Return a stream of the given tokens. A token may come with the log-probabilities at its position."""
    texts = [piece if isinstance(piece, str) else piece[0] for piece in pieces]
    starts = accumulate(map(len, texts), initial=0)
    known = {at: piece[1] for at, piece in zip(starts, pieces, strict=False) if isinstance(piece, tuple)}
    return Stream("".join(texts), reason, known)


def run(trigger: Trigger, *streams: Stream | str, split: Any = as_one_chunk, **settings: Any) -> list[str]:
    machine = Delegation(DelegationPolicy(trigger=trigger), **{"thinks": True, "max_tokens": 1000, **settings})
    return transcript(run_policy(machine, streams, split))


# -- the random trigger


@pytest.mark.parametrize(("probability", "low", "high"), [(0, 0, 0), (0.3, 0.27, 0.33), (1, 1, 1)])
def test_the_random_trigger_takes_over_with_its_probability(probability: float, low: float, high: float) -> None:
    trigger = RandomTrigger(probability, seed=1)
    takeovers = [trigger.examine(Draft("x", 1, index=index)) != "keep" for index in range(3000)]
    assert low <= sum(takeovers) / len(takeovers) <= high


def test_the_random_trigger_decides_the_same_for_the_same_seed_and_draft() -> None:
    one, same, other = RandomTrigger(0.5, 1), RandomTrigger(0.5, 1), RandomTrigger(0.5, 2)
    found = [[trigger.examine(Draft("x", 1, index=index)) for index in range(64)] for trigger in (one, same, other)]
    assert found[0] == found[1] != found[2]


def test_the_random_trigger_ignores_words() -> None:
    """With probability 1 it takes over at every boundary, without a cue. With 0 it ignores every cue."""
    text = "One.\n\nWait, two.\n\nThree.\n</think>\n\nA"
    never = run_policy(Delegation(DelegationPolicy(trigger=RandomTrigger(0)), thinks=True, max_tokens=99), [text])
    assert [command.author for command in never if isinstance(command, Generate)] == ["speculative"]
    streams: list[Stream | str] = [
        "One.\n\nWait, two.",
        Stream("Twice two.\n\n", "length"),
        "Three.",
        Stream("Four. ", "length"),
        "\n</think>\n\nA",
    ]
    always = run_policy(Delegation(DelegationPolicy(trigger=RandomTrigger(1)), thinks=True, max_tokens=99), streams)
    takeovers = [x for x in always if isinstance(x, Generate) and x.author == "target"]
    assert [(takeover.kind, takeover.cue) for takeover in takeovers] == [("trigger", None)] * 2


# -- the entropy of the first token


@pytest.mark.parametrize(
    ("logprobs", "nats"),
    [
        ((math.log(0.5), math.log(0.5)), math.log(2)),
        ((-1.0,) * 20, math.log(20)),
        ((math.log(0.2), math.log(0.2)), math.log(2)),  # normalized to a sum of 1
        ((0.0, -1000.0), 0),
        ((0.0, -math.inf), 0),
        ((-0.5,), 0),
        ((), 0),
        ((math.log(0.5), math.log(0.25), math.log(0.25)), 1.5 * math.log(2)),
    ],
)
def test_entropy_in_nats_of_the_known_tokens(logprobs: tuple[float, ...], nats: float) -> None:
    assert entropy(logprobs) == pytest.approx(nats)


def test_only_the_most_likely_tokens_count() -> None:
    first = tokens("A.", "\n\n", ("B", FLAT))
    assert "target trigger 512" in run(FirstTokenEntropy(math.log(4) - 1e-9, top=4), first)
    assert "target trigger 512" not in run(FirstTokenEntropy(math.log(4) - 1e-9, top=3), first)
    assert "target trigger 512" not in run(FirstTokenEntropy(math.log(4) + 1e-9, top=4), first)


@pytest.mark.parametrize(
    ("pieces", "taken_over"),
    [
        pytest.param(
            [("One", FLAT), ".", "\n\n", ("Two", PEAKED), " it", " is"],
            False,
            id="no decision at the start of the turn",
        ),
        pytest.param(["One", ".", ("\n\n", PEAKED), ("Two", FLAT)], True, id="the boundary is a token of its own"),
        pytest.param(["One", (".\n\n", FLAT), ("Two", PEAKED), " it"], False, id="the boundary is the end of a token"),
        pytest.param(
            ["One", (".\n", FLAT), ("\n", FLAT), ("Two", PEAKED), " it"], False, id="the boundary is in two tokens"
        ),
        pytest.param(
            ["One.", "\n\n", ("\n \n", FLAT), ("Two", PEAKED), "."], False, id="blank lines belong to the boundary"
        ),
        pytest.param(["One.", "\n\n", ("  ", FLAT), ("Two", PEAKED), " it"], False, id="indentation is not a word"),
        pytest.param(["One.", "\n\n", (" Two", FLAT)], True, id="a word includes the space before it"),
        pytest.param(
            ["One.", ("\n\nTwo", FLAT), (" it", PEAKED), (" is", FLAT), "."],
            False,
            id="a token with boundary and word does not count",
        ),
        pytest.param(["One.", ("\n\nTwo", PEAKED), (" it", FLAT)], True, id="the token after it counts"),
        pytest.param(["One.", "\n\n", ("Tw", FLAT), ("o", PEAKED)], True, id="only the first token of the word counts"),
    ],
)
@pytest.mark.parametrize("split", [as_one_chunk, list])
def test_the_first_token_after_a_boundary_decides(
    pieces: list[str | tuple[str, tuple[float, ...]]], taken_over: bool, split: Any
) -> None:
    assert ("target trigger 512" in run(ENTROPY, tokens(*pieces), split=split)) is taken_over


def test_the_target_writes_the_whole_uncertain_step() -> None:
    draft = tokens("One.\n\n", ("Two", FLAT), " is")
    assert run(ENTROPY, draft, "It is.\n\nNext", tokens(("On", FLAT), " it.\n</think>A")) == [
        "open",
        "speculative draft 1000",
        "+ One.\n\n",
        "- Two is",
        "target trigger 512",
        "+ It is.\n\n",
        "- Next",
        "speculative draft 1000",
        "- On it.\n</think>A",
        "target trigger 512",
    ]


def test_log_probabilities_are_requested_for_drafts_only() -> None:
    machine = Delegation(DelegationPolicy(trigger=FirstTokenEntropy(top=7)), thinks=True, max_tokens=99)
    commands = run_policy(machine, [tokens("One.\n\n", ("Two", FLAT)), "It is.</think>", "A"])
    requested = [(command.kind, command.top_logprobs) for command in commands if isinstance(command, Generate)]
    assert requested == [("draft", 7), ("trigger", 0), ("answer", 0)]


def test_a_certain_step_is_released_at_its_first_token() -> None:
    """Later text cannot change the decision. Therefore no text is held, and all text is shown as it arrives."""
    machine = Delegation(DelegationPolicy(trigger=ENTROPY), thinks=True, max_tokens=99)
    machine.start()
    machine.receive("One.\n\n")
    assert transcript(machine.receive("Two", 1, PEAKED)) == ["+ Two"]
    holding = Delegation(DelegationPolicy(trigger=FirstTokenEntropy(lexicon=Lexicon())), thinks=True, max_tokens=99)
    holding.start()
    holding.receive("One.\n\n")
    assert holding.receive("Two", 1, PEAKED) == []  # the rest of the sentence may contain a verification cue


def test_steps_without_log_probabilities_are_kept_with_a_note() -> None:
    machine = Delegation(DelegationPolicy(trigger=ENTROPY), thinks=True, max_tokens=99)
    commands = run_policy(machine, ["One.\n\nTwo.\n\nThree.\n</think>A"])
    assert commands.count(Note(NO_LOGPROBS)) == 2
    assert "+ One.\n\nTwo.\n\nThree.\n" in transcript([x for x in commands if not isinstance(x, Note)])


# -- a target that leads


@pytest.mark.parametrize("split", [as_one_chunk, list])
def test_a_leading_target_leaves_easy_steps_to_the_small_model(split: Any) -> None:
    streams = ["Let x be 3.\n\nSo it is.", ", x is 3.\n\nNext", "Now we see", " x.\n</think>A"]
    assert run(LEADS, *streams, split=split) == [
        "open",
        "target lead 1000",
        "+ Let x be 3.\n\nSo",
        "-  it is." if split is as_one_chunk else "-  ",
        "speculative relay 512 (so)",
        "+ , x is 3.\n\n",
        "- Next" if split is as_one_chunk else "- N",
        "target lead 1000",
        "+ Now",
        "-  we see" if split is as_one_chunk else "-  ",
        "speculative relay 512 (now)",
        "+  x.\n",
        "close '</think>'",
        "+ A",
        "finish stop",
    ]


def test_a_leading_target_answers_if_configured() -> None:
    found = run(LEADS, "Let x be 3.\n\nSo it", " is.\n</think>A", "Three.", answer_by="target")
    assert found[-5:] == ["- A", "close '</think>\\n\\n'", "target answer 1000", "+ Three.", "finish stop"]


def test_a_leading_target_does_not_continue_an_answer_that_reached_the_limit() -> None:
    found = run(LEADS, Stream("One.\n</think>\n\nThe ans", LENGTH), answer_by="target")
    assert found[-2:] == ["+ The ans", "finish length"]


@pytest.mark.parametrize(
    ("draft", "cue"),
    [
        ("So it", "so"),
        ("  so, it", "so"),
        ("SO\nit", "so"),
        ("that  means it", "that means"),
        ("Some", None),
        ("It is so.", None),
        ("so", None),  # it may become "some"
        ("that", None),
    ],
)
def test_a_leading_cue_begins_the_step(draft: str, cue: str | None) -> None:
    found = LEADS.examine(Draft(draft, len(draft)))
    assert (found.text if isinstance(found, Cue) else None) == cue


def test_text_that_cannot_begin_a_cue_is_not_held() -> None:
    assert LEADS.examine(Draft("Let us see what", 15)) == "keep"
    assert LEADS.examine(Draft("in other", 8)) is None


# -- combined triggers

CUE, OTHER, QUESTION = Cue("wait", "reflection", 4, 1), Cue("", "trigger", 1), ScoreRequest("?", 7)


@dataclass(frozen=True)
class Fixed(Trigger):
    decision: Decision | None

    def examine(self, draft: Draft) -> Decision | None:
        return self.decision


@pytest.mark.parametrize(
    ("decisions", "any_of", "all_of"),
    [
        ([CUE], CUE, CUE),
        (["keep"], "keep", "keep"),
        ([None], None, None),
        ([CUE, None], CUE, None),
        ([CUE, "keep"], CUE, "keep"),
        (["keep", None], None, "keep"),
        (["keep", "keep"], "keep", "keep"),
        ([CUE, OTHER], OTHER, CUE),  # AnyOf: the cue that ends first; AllOf: the cue with words
        ([OTHER, OTHER], OTHER, OTHER),
        ([QUESTION, CUE], CUE, QUESTION),
        ([QUESTION, None], QUESTION, None),
        ([QUESTION, "keep"], QUESTION, "keep"),
    ],
)
def test_combined_triggers_decide_together(decisions: list[Any], any_of: Any, all_of: Any) -> None:
    for order in (decisions, decisions[::-1]):
        triggers = [Fixed(decision) for decision in order]
        assert AnyOf(*triggers).examine(Draft("", 0)) == any_of
        assert AllOf(*triggers).examine(Draft("", 0)) == all_of


def test_a_combined_trigger_has_the_needs_of_all_its_triggers() -> None:
    both = AnyOf(CueTrigger(Lexicon(("yes",), ("wait",), ())), AllOf(FirstTokenEntropy(top=5), RandomTrigger(0.5)))
    assert (both.top_logprobs, both.lexicon) == (5, Lexicon(("yes",), ("wait",), ()))
    assert (both.takeover_tokens, both.lead) == (None, "speculative")
    assert AllOf(CueTrigger(), RandomTrigger(0.5)).takeover_tokens == 20
    assert AnyOf(LEADS).lead == "target"


def test_only_uncertain_steps_are_scored() -> None:
    both = AllOf(ENTROPY, SCORE)
    text = tokens("One.\n\n", ("Two", PEAKED), ".\n\n", ("Three", FLAT), ".\n\nFour.")
    assert run(both, text, "3", "3.\n\nNext", "Four.") == [
        "open",
        "speculative draft 1000",
        "+ One.\n\nTwo.\n\n",
        "- Four.",
        "target score 4",
        "- 3",
        "- Three.\n\n",
        "target trigger 512 (3)",
        "+ 3.\n\n",
        "- Next",
        "speculative draft 1000",
        f"note {NO_LOGPROBS}",
        "+ Four.",
        "close '\\n</think>\\n\\n'",
        "speculative answer 1000",
    ]


# -- all of them

ALL = [CueTrigger(), RandomTrigger(0.5), ENTROPY, SCORE, LEADS, AnyOf(ENTROPY, SCORE), AllOf(ENTROPY, SCORE)]


@pytest.mark.parametrize("trigger", ALL)
def test_the_length_of_a_takeover_comes_from_the_trigger_by_default(trigger: Trigger) -> None:
    by_default = 20 if isinstance(trigger, (CueTrigger, RandomTrigger)) else None
    assert DelegationPolicy(trigger=trigger).takeover_tokens == by_default
    assert DelegationPolicy(trigger=trigger, takeover_tokens=7).takeover_tokens == 7
    assert DelegationPolicy(trigger=trigger, takeover_tokens=None).takeover_tokens is None


def test_different_triggers_are_not_equal() -> None:
    assert len({repr(trigger) for trigger in ALL}) == len(set(ALL)) == len(ALL)
    assert AnyOf(ENTROPY, SCORE) == AnyOf(ENTROPY, SCORE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomTrigger(-0.1), "probability: expected a number from 0 to 1, got -0.1"),
        (lambda: RandomTrigger(1.1), "probability: expected a number from 0 to 1, got 1.1"),
        (lambda: FirstTokenEntropy(top=1), "top: expected a whole number of at least 2, got 1"),
        (lambda: FirstTokenEntropy(-1), "threshold: expected an entropy in nats, at least 0, got -1"),
        (lambda: FirstTokenEntropy(math.nan), "threshold: expected an entropy"),
        (lambda: ScoreAndAccept(11), "threshold: expected a whole number from 0"),
        (lambda: ScoreAndAccept(question=" "), "question: expected a question that leads to one digit"),
        (lambda: TargetLeads(("",)), "cues: expected a tuple of non-empty cues"),
        (lambda: TargetLeads("so"), "cues: expected a tuple of non-empty cues"),  # type: ignore[arg-type]
        (AnyOf, "triggers: expected one trigger or more"),
        (lambda: AllOf("cue"), "triggers: expected one trigger or more"),  # type: ignore[arg-type]
        (lambda: AnyOf(ENTROPY, LEADS), "triggers: expected triggers that all have the same `lead`"),
        (lambda: DelegationPolicy(trigger="cue"), "trigger: expected a Trigger instance, got 'cue'"),  # type: ignore[arg-type]
    ],
)
def test_invalid_values_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -- the registry


@dataclass(frozen=True)
class Never(Trigger):
    n: int = 1
    tunable = TunableParameter("n", at_lowest_share=1, at_highest_share=9)

    def examine(self, draft: Draft) -> Literal["keep"]:
        return "keep"


@dataclass(frozen=True)
class Undecided(Trigger):
    tunable = None


@dataclass(frozen=True)
class Untuned(Trigger):
    def examine(self, draft: Draft) -> Literal["keep"]:
        return "keep"


@dataclass(frozen=True)
class Elsewhere(Untuned):
    tunable = TunableParameter("m", at_lowest_share=1, at_highest_share=9)


@dataclass(frozen=True)
class Number(Untuned):
    tunable = 3  # type: ignore[assignment]


@dataclass
class Changeable(Trigger):
    tunable = None

    def examine(self, draft: Draft) -> Literal["keep"]:
        return "keep"


class Plain(Never):
    pass


@dataclass(frozen=True)
class Cue_(Never):  # noqa: N801 - its short name is that of another trigger
    pass


Cue_.__name__ = "CueTrigger"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Lexicon, "Lexicon: expected a subclass of Trigger with the method `examine`"),
        (Undecided, "Undecided: expected a subclass of Trigger with the method `examine`"),
        (Untuned, "Untuned: expected `tunable = .* for one of takeover_tokens, .* got no such attribute"),
        (Elsewhere, r"Elsewhere: expected `tunable = .* got TunableParameter\(field='m'"),
        (Number, "Number: expected `tunable = .* got 3"),
        (Changeable, r"Changeable: expected @dataclass\(frozen=True\) below @register_trigger"),
        (Plain, r"Plain: expected @dataclass\(frozen=True\) below @register_trigger"),
        (Cue_, r"CueTrigger: expected a name of its own, but .*cue\.CueTrigger is 'cue' too"),
    ],
)
def test_an_incomplete_trigger_is_not_registered(kind: Any, message: str) -> None:
    before = dict(TRIGGERS)
    with pytest.raises(TypeError, match=message):
        register_trigger(kind)
    assert before == TRIGGERS


@pytest.fixture
def never() -> Iterator[type[Trigger]]:
    yield register_trigger(Never)
    del TRIGGERS["never"]


def test_a_registered_trigger_is_saved_and_loaded(never: type[Trigger]) -> None:
    policy = DelegationPolicy(trigger=Never(4))
    assert policy_from_data(json.loads(json.dumps(as_data(policy)))) == policy
    assert TRIGGERS["never"] is never


def test_a_class_that_is_defined_again_replaces_the_earlier_one(never: type[Trigger]) -> None:
    again: Any = dataclass(frozen=True)(type("Never", (never,), {"__module__": __name__, "__qualname__": "Never"}))
    assert register_trigger(again) is TRIGGERS["never"] is not never


def test_a_trigger_that_is_not_registered_cannot_be_loaded() -> None:
    data = {"trigger": {"type": "Untuned"}}
    expected = r"expected one of Agreement, AllOf, .*`register_trigger` decorates its class and Python has imported its"
    with pytest.raises(ValueError, match=f"Untuned: {expected} module"):
        policy_from_data(data)

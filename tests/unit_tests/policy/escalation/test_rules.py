"""Tests of the rules of escalation, and of the gate that calls them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_spec_thinking import (
    Agreement,
    AnyOf,
    Budget,
    Confidence,
    DelegationPolicy,
    EscalateIfAll,
    EscalateIfAny,
    Escalation,
    NoTakeovers,
    Stall,
    register_escalation,
)
from langchain_spec_thinking.policy.data import as_data, policy_from_data
from langchain_spec_thinking.policy.escalation import Answer, AskIfSame, Escalate, Evidence, Gate
from langchain_spec_thinking.policy.escalation.gate import NOT_FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.policy.escalation import Verdict

ESSAYS = (
    "The first thing to say about the sea is that nobody has ever seen all of it at the same time.",
    "Nobody has ever seen the whole sea at once, and that is the first thing that one should say about it.",
    "The sea is cold and dark, and the fish in it are rarely seen by anybody who does not go fishing there.",
)
LOOP = "We try the same thing once more and then once more again, " * 6
WAIT = "Wait, that is not right.\n\n"
SURE, UNSURE = -0.05, -0.9


def outcome(
    rule: Escalation,
    answers: Sequence[str | Answer],
    text: str = "",
    logprob: float | None = None,
    lowest: float | None = None,
) -> str:
    """Return what a rule says about an attempt and its samples: `accept`, `open`, `ask`, or the reason."""
    first, *samples = (
        Answer(each, logprob=logprob, lowest_logprob=lowest) if isinstance(each, str) else each for each in answers
    )
    gate = Gate(rule)
    gate.read(text)
    for number, sample in enumerate(samples):
        gate.sample(number, sample)
    gate.finish(first)
    return words(gate.verdict)


def words(verdict: Verdict | None) -> str:
    if isinstance(verdict, Escalate):
        return verdict.reason
    return "ask" if isinstance(verdict, AskIfSame) else verdict or "open"


DIFFER = "the answers of the small model are not all the same"
NOT_SURE = "the small model is not sure of its answer"
REPEATS = "the small model repeats itself"
AGREEMENT = [
    ("two answers that are the same are accepted", Agreement(), ["12", "So it is 12."], "accept"),
    ("two answers that differ are escalated", Agreement(), ["12", "13"], DIFFER),
    ("one of three that differs escalates", Agreement(samples=3), ["12", "12", "13"], DIFFER),
    ("a sample that differs decides before the others are there", Agreement(samples=4), ["12", "13"], DIFFER),
    ("a sample that ran out of tokens escalates", Agreement(), ["12", Answer("12", complete=False)], DIFFER),
    ("an empty sample escalates", Agreement(), ["12", " "], DIFFER),
    ("an attempt that ran out of tokens is escalated", Agreement(), [Answer("12", complete=False), "12"], DIFFER),
    ("an empty attempt is escalated", Agreement(), ["", ""], DIFFER),
    ("free texts are judged by the small model", Agreement(), ESSAYS[:2], "ask"),
    ("a function compares", Agreement(compare=lambda a, b: a[:3] == b[:3]), ["The cat", "The dog"], "accept"),
]
STALLS = [
    ("an attempt that ends by itself is accepted", Stall(), "One step.\n\nTwo steps.\n\n" * 9, "accept"),
    ("a passage that is repeated is a stall", Stall(), LOOP, REPEATS),
    ("repetition may be allowed", Stall(repeats=None), LOOP, "accept"),
    ("three repetitions are fewer than four", Stall(), LOOP[: len(LOOP) // 2], "accept"),
    (
        "six reflections in a row are a stall",
        Stall(repeats=None),
        WAIT * 6,
        "the small model reflects 6 times in a row",
    ),
    ("five are not", Stall(repeats=None), WAIT * 5, "accept"),
    (
        "a step without reflection starts the count anew",
        Stall(repeats=None),
        f"{WAIT * 3}So 4.\n\n{WAIT * 3}",
        "accept",
    ),
    ("reflections may be allowed", Stall(repeats=None, reflections=None), WAIT * 9, "accept"),
    ("a long attempt is a stall", Stall(tokens=9), "a " * 10, "the attempt of the small model is longer than 9 tokens"),
    ("an attempt of the longest length is accepted", Stall(tokens=10), "a " * 10, "accept"),
]
CONFIDENCE = [
    ("a sure answer is accepted", Confidence(), SURE, "accept"),
    ("an unsure answer is escalated", Confidence(), UNSURE, NOT_SURE),
    ("an answer at the threshold is accepted", Confidence(threshold=UNSURE), UNSURE, "accept"),
    (
        "an answer without log-probabilities is escalated",
        Confidence(),
        None,
        "no log-probabilities of the small model's answer are known",
    ),
]
BOTH = Agreement(), Confidence()
COMBINED: list[tuple[str, Escalation, list[str], float, str]] = [
    ("any: both accept", EscalateIfAny(*BOTH), ["1", "1"], SURE, "accept"),
    ("any: the first escalates", EscalateIfAny(*BOTH), ["1", "2"], SURE, DIFFER),
    ("any: the second escalates", EscalateIfAny(*BOTH), ["1", "1"], UNSURE, NOT_SURE),
    ("any: a question must be answered", EscalateIfAny(*BOTH), [*ESSAYS[:2]], SURE, "ask"),
    ("any: a question is not asked if another rule escalates", EscalateIfAny(Confidence(), Agreement()), [*ESSAYS[:2]],
     UNSURE, NOT_SURE),
    ("all: one accepts", EscalateIfAll(*BOTH), ["1", "2"], SURE, "accept"),
    ("all: both escalate", EscalateIfAll(*BOTH), ["1", "2"], UNSURE, f"{DIFFER}, and {NOT_SURE}"),
    ("all: a question is not asked if another rule accepts", EscalateIfAll(*BOTH), [*ESSAYS[:2]], SURE, "accept"),
    ("all: a question must be answered", EscalateIfAll(*BOTH), [*ESSAYS[:2]], UNSURE, "ask"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "answers", "said"), [row[1:] for row in AGREEMENT], ids=[row[0] for row in AGREEMENT])
def test_agreement(rule: Escalation, answers: list[str | Answer], said: str) -> None:
    assert outcome(rule, answers) == said


UNORDERED: list[tuple[str, Escalation, str]] = [
    ("agreement", Agreement(samples=3), DIFFER),
    ("any: agreement and confidence", EscalateIfAny(Confidence(), Agreement(samples=3)), DIFFER),
    ("any: agreement and stall", EscalateIfAny(Stall(tokens=1), Agreement(samples=3)), DIFFER),
    ("all: agreement and confidence", EscalateIfAll(Confidence(), Agreement(samples=3)), f"{DIFFER}, and {NOT_SURE}"),
    ("without samples", Confidence(), "the small model did not finish its answer"),
]


@pytest.mark.parametrize(("rule", "said"), [row[1:] for row in UNORDERED], ids=[row[0] for row in UNORDERED])
def test_the_order_in_which_unusable_answers_end_does_not_change_the_reason(rule: Escalation, said: str) -> None:
    cut = Answer("It is", complete=False, logprob=UNSURE)
    for order in permutations(range(rule.further_samples + 1)):
        gate = Gate(rule)
        for number in order:
            if number:
                gate.sample(number - 1, cut)
            else:
                gate.finish(cut)
        assert words(gate.verdict) == said


@pytest.mark.parametrize(("rule", "text", "said"), [row[1:] for row in STALLS], ids=[row[0] for row in STALLS])
def test_stall(rule: Escalation, text: str, said: str) -> None:
    assert outcome(rule, ["12"], text) == said


@pytest.mark.parametrize(
    ("rule", "logprob", "said"), [row[1:] for row in CONFIDENCE], ids=[row[0] for row in CONFIDENCE]
)
def test_confidence(rule: Escalation, logprob: float | None, said: str) -> None:
    assert outcome(rule, ["12"], logprob=logprob) == said


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        pytest.param(Confidence(-0.1), "accept", id="the mean hides one token that is a guess"),
        pytest.param(Confidence(-1.2, "lowest"), NOT_SURE, id="the lowest token shows the guess"),
        pytest.param(Confidence(-1.5, "lowest"), "accept", id="the threshold belongs to the measure"),
    ],
)
def test_the_measure_of_confidence(rule: Escalation, said: str) -> None:
    assert outcome(rule, ["12"], logprob=-0.08, lowest=-1.3) == said


def test_confidence_without_the_measure_that_it_needs() -> None:
    assert "no log-probabilities" in outcome(Confidence(measure="lowest"), ["12"], logprob=SURE)


@pytest.mark.parametrize(
    ("rule", "answers", "logprob", "said"), [row[1:] for row in COMBINED], ids=[row[0] for row in COMBINED]
)
def test_combined(rule: Escalation, answers: list[str], logprob: float, said: str) -> None:
    assert outcome(rule, answers, logprob=logprob) == said


@pytest.mark.parametrize(
    ("replies", "said"),
    [((True, True), "accept"), ((False,), DIFFER), ((True, False), DIFFER)],
    ids=["two yes accept", "one no escalates without a further question", "a no after a yes escalates"],
)
def test_the_small_model_compares_free_texts_with_the_attempt(replies: tuple[bool, ...], said: str) -> None:
    gate = Gate(Agreement(samples=3))
    gate.sample(0, Answer(ESSAYS[1]))
    gate.sample(1, Answer(ESSAYS[2]))
    assert gate.verdict is None
    gate.finish(Answer(ESSAYS[0]))
    for text, same in zip(ESSAYS[1:], replies, strict=False):
        assert gate.verdict == AskIfSame(ESSAYS[0], text)
        gate.judge(same=same)
    assert words(gate.verdict) == said


def test_an_attempt_that_goes_round_in_circles_ends_at_the_end_of_a_step() -> None:
    text = "So.\n\n" + LOOP + "\n\n" + LOOP * 9
    gate = Gate(Stall())
    kept = gate.read(text)
    assert kept is not None
    assert text[:kept] == "So.\n\n" + LOOP + "\n\n"
    assert (gate.stopped, words(gate.verdict)) == (True, REPEATS)


def test_a_step_without_an_end_is_examined_at_the_end_of_a_word() -> None:
    text = LOOP * 30
    kept = Gate(Stall()).read(text)
    assert kept is not None
    assert text[kept - 1] == " "
    assert 1200 <= kept < 1300


def test_a_text_without_words_is_examined_too() -> None:
    assert Gate(Stall(tokens=100)).read("步" * 5000) == 2200


def test_samples_do_not_stop_the_thought_because_they_arrive_at_any_time() -> None:
    gate = Gate(Agreement(samples=3))
    gate.sample(0, Answer("1"))
    gate.sample(1, Answer("2"))
    assert words(gate.verdict) == DIFFER
    assert gate.read("A thought. " * 500) is None
    assert not gate.stopped


def test_a_rule_without_a_verdict_at_the_end_is_refused() -> None:
    class Undecided(Escalation):
        def examine(self, evidence: Evidence) -> Verdict | None:
            return None

    with pytest.raises(TypeError, match="Undecided: expected a verdict, because all answers are finished"):
        Gate(Undecided()).finish(Answer("12"))


class Two(Escalation):
    """A rule that waits for two usable answers."""

    further_samples = 1

    def examine(self, evidence: Evidence) -> Verdict | None:
        usable = [answer for answer in evidence.answers if answer.usable]
        return None if len(usable) < 2 else "accept"


@pytest.mark.parametrize("order", [*permutations(["attempt", "sample"])], ids=" first, then ".join)
@pytest.mark.parametrize("unusable", [Answer(""), Answer("12", complete=False)], ids=["empty", "not finished"])
def test_an_attempt_that_is_not_usable_is_escalated_in_any_order(order: tuple[str, ...], unusable: Answer) -> None:
    gate = Gate(Two())
    for ended in order:
        if ended == "attempt":
            gate.finish(unusable)
        else:
            gate.sample(0, Answer("12"))
    assert gate.verdict == NOT_FINISHED


REFUSED: list[tuple[Any, str]] = [
    (lambda: Agreement(samples=1), "samples: expected a whole number from 2 to 16, got 1"),
    (lambda: Agreement(samples=17), "samples: expected a whole number from 2 to 16, got 17"),
    (lambda: Agreement(temperature=0), "temperature: expected a number above 0"),
    (lambda: Agreement(compare="exact"), "compare: expected 'auto' or a function of two texts, got 'exact'"),  # type: ignore[arg-type]
    (lambda: Stall(repeats=1), "repeats: expected a whole number of at least 2, got 1"),
    (lambda: Stall(tokens=0), "tokens: expected a whole number of at least 1, got 0"),
    (lambda: Confidence(0.9), "threshold: expected a log-probability in nats, at most 0, got 0.9"),
    (EscalateIfAny, "rules: expected one rule of escalation or more"),
    (lambda: EscalateIfAll(Agreement(), Agreement(temperature=1)), "rules whose samples have the same temperature"),
    (lambda: AnyOf(Agreement()), "To combine rules of escalation, use EscalateIfAny or EscalateIfAll"),  # type: ignore[arg-type]
    (lambda: DelegationPolicy(escalation="agreement"), "escalation: expected a rule such as Agreement\\(\\) or None"),  # type: ignore[arg-type]
    (lambda: DelegationPolicy(escalate_to="stop"), "escalate_to: expected 'restart' or 'continue', got 'stop'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_settings_that_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_gated_policy_has_no_takeovers() -> None:
    policy = DelegationPolicy.gated(escalate_to="continue")
    assert (policy.trigger, policy.escalation, policy.escalate_to) == (NoTakeovers(), Agreement(), "continue")
    assert not policy.has_takeovers
    assert DelegationPolicy.gated(opening_tokens=1).has_takeovers
    assert DelegationPolicy().has_takeovers


RULES = [
    Agreement(3),
    Stall(tokens=9),
    Confidence(-1),
    EscalateIfAny(Stall(), EscalateIfAll(Agreement(), Confidence())),
]


@pytest.mark.parametrize("rule", RULES, ids=[type(rule).__name__ for rule in RULES])
def test_rules_can_be_saved(rule: Escalation) -> None:
    policy = DelegationPolicy.gated(escalation=rule)
    assert policy_from_data(as_data(policy)) == policy  # type: ignore[arg-type]


def test_a_file_holds_only_the_name_of_a_function() -> None:
    data = as_data(DelegationPolicy.gated(escalation=Agreement(compare=outcome)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="A file holds only the name of a function"):
        policy_from_data(data)  # type: ignore[arg-type]


def test_a_file_tells_changed_functions_apart_and_recognises_equal_ones() -> None:
    def begins_alike(number: int) -> Callable[[str, str], bool]:
        return lambda a, b: a[:number] == b[:number]

    def names(*numbers: int) -> list[object]:
        return [as_data(Agreement(compare=begins_alike(number))) for number in numbers]

    assert names(1, 2) != names(1, 1) == names(1, 1)
    assert as_data(Agreement(compare=lambda a, b: a == b)) != as_data(Agreement(compare=lambda a, b: a != b))
    assert as_data(Agreement(compare=operator.eq)) != as_data(Agreement(compare=operator.ne))


def test_a_price_in_the_budget_of_a_file_names_what_replaces_it() -> None:
    budget = {"type": "Budget", "cost": 9.0, "target_price": {"type": "Price", "prompt": 1.0, "completion": 4.0}}
    with pytest.raises(ValueError, match=r"target_price does not exist any more.* `price=` of the backend"):
        policy_from_data({"budget": budget})
    unset = {"budget": {**budget, "target_price": None}}
    assert policy_from_data(unset).budget == Budget(cost=9.0)


def test_a_rule_of_your_own_can_be_saved() -> None:
    @register_escalation
    @dataclass(frozen=True)
    class Hedging(Escalation):
        word: str = "maybe"

        def examine(self, evidence: Evidence) -> Verdict | None:
            if evidence.answer is None:
                return None
            return Escalate("it is not sure") if self.word in evidence.answer.text else "accept"

    policy = DelegationPolicy.gated(escalation=Hedging("perhaps"))
    assert policy_from_data(as_data(policy)) == policy  # type: ignore[arg-type]
    assert outcome(Hedging(), ["It is maybe 4."]) == "it is not sure"


def test_incomplete_rules_are_refused() -> None:
    with pytest.raises(TypeError, match="Half: expected a dataclass that is a subclass of Escalation"):

        @register_escalation
        class Half(Escalation):
            pass


# -- laws

WORDS = st.sampled_from(["a", "b ", "\n", "\n\n", " ", WAIT, "so it goes on and on ", "x" * 40, "步", LOOP[:58], "."])
TEXTS = st.lists(WORDS, max_size=150).map("".join)
ANSWERS = st.sampled_from(["1", "2", "1.0", "yes", "(A)", "", *ESSAYS[:2], Answer("1", complete=False)]).map(
    lambda each: Answer(each) if isinstance(each, str) else each
)
SIMPLE = st.sampled_from([Agreement(), Agreement(4), Stall(tokens=60), Stall(3, 2, 4), Confidence()])
GATES = st.one_of(SIMPLE, st.builds(EscalateIfAny, SIMPLE, SIMPLE), st.builds(EscalateIfAll, SIMPLE, SIMPLE))


@given(GATES, TEXTS, st.lists(st.integers(1, 400), max_size=40))
def test_chunks_change_nothing(rule: Escalation, text: str, cuts: list[int]) -> None:
    whole, parts = Gate(rule), Gate(rule)
    kept = whole.read(text)
    total = 0
    for start, end in pairwise([0, *sorted({cut for cut in cuts if cut < len(text)}), len(text)]):
        part = parts.read(text[start:end])
        if part is not None:
            total = start + part
            assert start < total <= end  # text before it has been shown already
            break
    assert (parts.stopped, parts.verdict) == (whole.stopped, whole.verdict)
    assert total == (kept or 0)


@given(rule=GATES, text=TEXTS, answers=st.lists(ANSWERS, min_size=4, max_size=4), same=st.booleans())
def test_the_order_of_samples_changes_nothing(
    rule: Escalation, text: str, answers: list[Answer], *, same: bool
) -> None:
    first, *samples = answers
    samples = samples[: rule.further_samples]
    verdicts = []
    for order in permutations(range(len(samples))):
        for attempt_after in range(len(samples) + 1):
            gate = Gate(rule)
            gate.read(text)
            for place, number in enumerate([*order, -1]):
                if place == attempt_after and not gate.stopped:
                    gate.finish(first)
                if number >= 0:
                    gate.sample(number, samples[number])
            while isinstance(gate.verdict, AskIfSame):
                gate.judge(same=same)
            verdicts.append(gate.verdict == "accept")
            assert gate.decided
    assert len(set(verdicts)) == 1


@given(GATES, TEXTS, st.lists(ANSWERS, min_size=4, max_size=4))
def test_a_verdict_is_final(rule: Escalation, text: str, answers: list[Answer]) -> None:
    gate = Gate(rule)
    gate.read(text)
    seen: list[Verdict | None] = [gate.verdict]
    for number, answer in enumerate(answers[1 : 1 + rule.further_samples]):
        gate.sample(number, answer)
        seen.append(gate.verdict)
    gate.finish(answers[0])
    decided = [
        verdict for verdict in [*seen, gate.verdict] if verdict is not None and not isinstance(verdict, AskIfSame)
    ]
    assert all(verdict == decided[0] for verdict in decided)

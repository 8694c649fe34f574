"""The field of policies that `tune` compares: the large model for steps, for the rest, or for the whole question."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from langchain_spec_thinking.default_policy import default_policy
from langchain_spec_thinking.escalation_advice import continuation_advice
from langchain_spec_thinking.evaluation.variants import Variant, alone
from langchain_spec_thinking.hidden_reasoning import hides_reasoning
from langchain_spec_thinking.policy import (
    Agreement,
    Confidence,
    DelegationPolicy,
    EscalateIfAny,
    FirstTokenEntropy,
    NoTakeovers,
    Stall,
    Trigger,
)
from langchain_spec_thinking.policy.endings import count_words
from langchain_spec_thinking.policy.triggers.entropy import entropy
from langchain_spec_thinking.recording.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
    from langchain_spec_thinking.policy.triggers import Draft
    from langchain_spec_thinking.recording.record import Record

_TOP = 20
_NEVER = 99.0
"""A threshold that no entropy reaches, and whose negative every log-probability exceeds, in nats."""
_SHARES = (0.25, 0.5, 0.75)
"""Shares of the questions of which the large model is to get the rest, each with the threshold that it needs."""
_LONG = 0.95
"""Share of the right answers of the small model that are not stalled."""
_UNSURE = (0.25, 0.5)
"""Shares of the questions that the large model is to get because the small one is not sure of its answer."""
_OPENING_TOKENS = 100

Need = Literal["the large model continues", "the small model continues", "log-probabilities", "the small model answers"]


@dataclass(frozen=True)
class Observed:
    """What the small model does alone. It sets the thresholds of the field.

    Attributes:
        lengths: Lengths of its right answers with their thoughts, in words and punctuation marks.
        entropies: For each answer, the largest entropy of the first token of a step, in nats.
        logprobs: For each answer, the mean log-probability of its tokens, in nats.
        lowest_logprobs: For each answer, the lowest log-probability of its tokens, in nats.
    """

    lengths: tuple[int, ...] = ()
    entropies: tuple[float, ...] = ()
    logprobs: tuple[float, ...] = ()
    lowest_logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Field:
    """The policies that a pair can try.

    Attributes:
        policies: By name.
        left_out: Sentences that say which policies the models cannot carry out, and why.
    """

    policies: Mapping[str, DelegationPolicy]
    left_out: tuple[str, ...] = ()


def field_of_policies(model: ChatSpeculativeThinking, observed: Observed) -> Field:
    """Return the policies that a pair can try. The names hold the thresholds, so another threshold is another name."""
    lacks = dict(_lacks(model))
    policies: dict[str, DelegationPolicy] = {}
    without: dict[str, list[str]] = {}
    for name, policy, needs in _candidates(model, observed):
        reason = next((lacks[need] for need in needs if need in lacks), None)
        if reason:
            without.setdefault(reason, []).append(name)
        else:
            policies[name] = replace(policy, boundary=model.policy.boundary)
    return Field(policies, tuple(f"Left out: {', '.join(names)}, because {why}." for why, names in without.items()))


def observing(model: ChatSpeculativeThinking, name: str) -> Variant | None:
    """Return the small model alone, with log-probabilities of steps and answers. None if it returns none."""
    top = _top(model)
    if top is None:
        return None
    policy = DelegationPolicy(
        trigger=FirstTokenEntropy(_NEVER, top), escalation=Confidence(-_NEVER), boundary=model.policy.boundary
    )
    variant = alone(model, "speculative", name)
    return replace(variant, model=variant.model.model_copy(update={"policy": policy}))


def observe(answers: Iterable[tuple[Record, bool]], with_logprobs: Iterable[tuple[Record, bool]]) -> Observed:
    """Look at recorded answers of the small model, each with whether it is right."""
    lengths = [count_words(record.thinking + record.answer) for record, right in answers if right]
    watched = [record for record, _ in with_logprobs]
    finished = [record.escalation.finished for record in watched if record.escalation]
    logprobs = [answer.logprob for answer in finished if answer and answer.logprob is not None]
    lowest = [answer.lowest_logprob for answer in finished if answer and answer.lowest_logprob is not None]
    return Observed(tuple(lengths), tuple(map(_largest_entropy, watched)), tuple(logprobs), tuple(lowest))


def _lacks(model: ChatSpeculativeThinking) -> Iterator[tuple[Need, str]]:
    small, large = model.speculative, model.target
    if continuation_advice(large.name, large.capabilities):
        yield "the large model continues", f"{large.name} cannot continue a half-written thought"
    elif hides_reasoning(large):
        yield "the large model continues", f"{large.name} does not show its reasoning"
    if continuation_advice(small.name, small.capabilities):
        yield "the small model continues", f"{small.name} cannot continue a half-written thought"
    if _top(model) is None:
        yield "log-probabilities", f"{small.name} returns no log-probabilities"
    if model.answer_by == "target":
        yield "the small model answers", "answer_by is 'target', and these rules compare answers of the small model"


def _candidates(
    model: ChatSpeculativeThinking, observed: Observed
) -> Iterator[tuple[str, DelegationPolicy, tuple[Need, ...]]]:
    """Yield all policies, each with its name and with what it needs. The names are in the order of the tables."""
    continues: Need = "the large model continues"
    takes_turns: tuple[Need, ...] = (continues, "the small model continues")
    agrees: tuple[Need, ...] = ("the small model answers",)
    sure: tuple[Need, ...] = ("log-probabilities",)
    gated = DelegationPolicy.gated
    steps, _ = default_policy(model.speculative)

    yield "steps", steps, takes_turns
    opening = DelegationPolicy(trigger=NoTakeovers(), opening_tokens=_OPENING_TOKENS)
    yield "opening", opening, ("the small model continues",)
    yield "cue-rest", DelegationPolicy(takeover_tokens="rest"), (continues,)
    triggers = _entropy_triggers(model, observed)
    for trigger in triggers:
        rest = DelegationPolicy(trigger=trigger, takeover_tokens="rest")
        yield f"entropy-{trigger.threshold:g}-rest", rest, (*sure, continues)
    for trigger in triggers[1:2]:
        yield f"entropy-{trigger.threshold:g}-step", DelegationPolicy(trigger=trigger), (*sure, *takes_turns)

    for samples in (2, 3, 4):
        yield f"agree-{samples}", gated(escalation=Agreement(samples)), agrees
    yield "agree-2-continue", gated(escalate_to="continue"), (*agrees, continues)
    yield "steps-agree-2", replace(steps, escalation=Agreement()), (*agrees, *takes_turns)
    for trigger in triggers[-1:]:
        both = DelegationPolicy(trigger=trigger, takeover_tokens="rest", escalation=Agreement())
        yield f"entropy-{trigger.threshold:g}-rest-agree-2", both, (*agrees, *sure, continues)
    if observed.lengths:
        stall = Stall(tokens=_long(observed.lengths))
        yield f"stall-{stall.tokens}", gated(escalation=stall), ()
        for samples in (2, 3):
            rule = EscalateIfAny(stall, Agreement(samples))
            yield f"stall-{stall.tokens}-agree-{samples}", gated(escalation=rule), agrees
    doubts = _doubts(observed)
    for doubt in doubts:
        yield _name_of(doubt), gated(escalation=doubt), sure
    for doubt in doubts[:1]:
        yield f"{_name_of(doubt)}-agree-2", gated(escalation=EscalateIfAny(doubt, Agreement())), (*sure, *agrees)


def _entropy_triggers(model: ChatSpeculativeThinking, observed: Observed) -> list[FirstTokenEntropy]:
    """Return triggers of which each takes over in one of `_SHARES` of the questions, the rarest first.

    Without entropies the default stands for all of them.
    """
    top = _top(model) or _TOP
    if not observed.entropies:
        return [FirstTokenEntropy(top=top)]
    thresholds = [round(_quantile(observed.entropies, 1 - share), 2) for share in _SHARES]
    return [FirstTokenEntropy(threshold, top) for threshold in dict.fromkeys(thresholds)]


def _doubts(observed: Observed) -> list[Confidence]:
    """Return rules of which each escalates one of `_UNSURE` of the questions, the rarest of each measure first.

    Without log-probabilities the default stands for all of them. A threshold of 0 would escalate every question.
    """
    if not observed.logprobs:
        return [Confidence()]
    of_lowest = [Confidence(threshold, "lowest") for threshold in _thresholds(observed.lowest_logprobs)]
    return [*of_lowest, *(Confidence(threshold) for threshold in _thresholds(observed.logprobs))]


def _thresholds(logprobs: Sequence[float]) -> list[float]:
    found = [float(f"{_quantile(logprobs, share):.2g}") for share in _UNSURE] if logprobs else []
    return [threshold for threshold in dict.fromkeys(found) if threshold < 0]


def _name_of(doubt: Confidence) -> str:
    return f"sure{doubt.threshold:g}" if doubt.measure == "mean" else f"lowest{doubt.threshold:g}"


def _top(model: ChatSpeculativeThinking) -> int | None:
    """Return for how many tokens the small model returns log-probabilities. None: too few for an entropy."""
    top = min(_TOP, model.speculative.capabilities.top_logprobs_max)
    return top if top > 1 else None


def _long(lengths: Sequence[int]) -> int:
    return 10 * -(-round(_quantile(lengths, _LONG)) // 10)


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least a share of the values does not exceed."""
    return sorted(values)[max(0, -(-round(share * len(values) * 1000) // 1000) - 1)]


@dataclass(frozen=True)
class _Listener(Trigger):
    """Notes the entropy of the first token of each step, and never takes over."""

    top: int
    found: dict[int, float] = field(default_factory=dict)
    tunable: ClassVar[None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "top_logprobs", self.top)

    def examine(self, draft: Draft) -> Literal["keep"] | None:
        if draft.first_token is None:
            return None
        self.found[draft.index] = entropy(draft.first_token.top_logprobs[: self.top])
        return "keep"


def _largest_entropy(record: Record) -> float:
    recorded = record.policy
    listener = _Listener(recorded["trigger"]["top"])
    replay(record, DelegationPolicy(trigger=listener, boundary=recorded["boundary"]))
    return max(listener.found.values(), default=0.0)

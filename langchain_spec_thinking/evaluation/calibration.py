"""Thresholds set by what people understand: how much of the text the target writes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.policy_lines import parse_policy, triggers
from langchain_spec_thinking.evaluation.runs import solved
from langchain_spec_thinking.evaluation.statistics import Interval, ratio
from langchain_spec_thinking.evaluation.variants import Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.policy import DelegationPolicy


@dataclass(frozen=True)
class TunableParameter:
    """A number of a trigger, or of the policy around it, on which the target's share depends, in one direction.

    Attributes:
        field: Its name.
        never: Where the target has the least that can be had.
        always: Where it has the most.
        whole: It is a whole number.
        silent: The trigger never fires at `never`, so that the target has nothing there.
    """

    field: str
    never: float
    always: float
    whole: bool = False
    silent: bool = True


TUNABLE_PARAMETERS = {
    "RandomTrigger": TunableParameter("probability", never=0, always=1),
    "FirstTokenEntropy": TunableParameter("threshold", never=3, always=0),  # ln 20: the entropy of twenty equal tokens
    "ScoreAndAccept": TunableParameter("threshold", never=0, always=10, whole=True),  # accepted from this digit on
    # Words either stand there or do not. What can be set is for how long the other model is let in, and with it how far
    # the words are looked for. What the target has at the least is not known beforehand.
    "CueTrigger": TunableParameter("takeover_tokens", never=1, always=256, whole=True, silent=False),
    "TargetLeads": TunableParameter("takeover_tokens", never=256, always=1, whole=True, silent=False),
}
"""By the trigger's class."""


def parse_trigger(line: str) -> tuple[DelegationPolicy, TunableParameter]:
    """Read a trigger whose parameter is still to be tuned.

    Args:
        line: Its short name and, after a comma, further settings as in a policy's line.

    Returns:
        A policy in which the target has the most that can be had, and the parameter.

    Raises:
        ValueError: There is no such trigger or setting, or the line sets the parameter that is to be tuned.
    """
    name, *settings = line.split(",")
    kinds = triggers()
    if name not in kinds:
        msg = f"--trigger {name}: expected one of {', '.join(sorted(kinds))}"
        raise ValueError(msg)
    parameter = TUNABLE_PARAMETERS[kinds[name].__name__]
    if any(setting.partition("=")[0].strip() == parameter.field for setting in settings):
        msg = f"--trigger {line}: expected no {parameter.field}, which is what is set"
        raise ValueError(msg)
    return parse_policy(f"{name}:trigger={line},{parameter.field}={parameter.always}")[1], parameter


@dataclass(frozen=True)
class Measured:
    """The target's share at a setting of a parameter."""

    value: float
    share: Interval


def calibrated(
    share_at: Callable[[float], Interval],
    wanted: float,
    parameter: TunableParameter,
    *,
    close: float = 0.01,
    rounds: int = 6,
) -> list[Measured]:
    """Find the setting of a parameter at which the target has a share of the text.

    The first measurement is where the target has most: more than that cannot be had. The second is where it has least,
    unless that is nothing. From there on it is false position, with the Illinois rule against creeping up from one
    side.

    Args:
        share_at: Measures the share.
        wanted: The share that is wanted, from 0 to 1.
        parameter: What to turn.
        close: Near enough.
        rounds: Most measurements.

    Returns:
        What was measured, the nearest to what is wanted first.
    """
    measured = [Measured(parameter.always, share_at(parameter.always))]
    most, least = measured[0].share.value, 0.0
    if not parameter.silent and most - wanted > close:
        measured.append(Measured(parameter.never, share_at(parameter.never)))
        least = measured[1].share.value
    ends = [(float(parameter.never), least - wanted), (float(parameter.always), most - wanted)]
    last = None
    while least < wanted < most and len(measured) < rounds and abs(measured[-1].share.value - wanted) > close:
        (a, below), (b, above) = ends
        value = (a * above - b * below) / (above - below)
        value = round(value, 4)
        if parameter.whole:  # strictly between the two, until they are neighbours
            value = min(max(round(value), round(min(a, b)) + 1), round(max(a, b)) - 1)
        if value in {a, b}:
            break
        measured.append(Measured(value, share_at(value)))
        off = measured[-1].share.value - wanted
        side = int(off > 0)
        ends[side] = (value, off)
        if side == last:
            ends[1 - side] = (ends[1 - side][0], ends[1 - side][1] / 2)
        last = side
    return sorted(measured, key=lambda one: abs(one.share.value - wanted))


def share_of(
    model: ChatSpeculativeThinking,
    policy: DelegationPolicy,
    questions: Sequence[Question],
    concurrency: int,
    progress: Callable[[], object] = lambda: None,
) -> Interval:
    """Measure the target's share of the kept tokens, with its interval over questions.

    Raises:
        RuntimeError: A question ended in an error.
    """
    variant = Variant("calibration", model.model_copy(update={"policy": policy}))
    parts: list[int] = []
    wholes: list[int] = []
    for question, came in solved(variant, questions, concurrency):
        error = came if isinstance(came, str) else came.error
        if isinstance(came, str) or error:
            msg = f"{question.question[:60]!r} ended in an error: {error}"
            raise RuntimeError(msg)
        outcome = Outcome.of_record(question.id, came.as_dict())
        parts.append(outcome.tokens["target"])
        wholes.append(outcome.length)
        progress()
    return ratio(parts, wholes)


def with_value(policy: DelegationPolicy, parameter: TunableParameter, value: float) -> DelegationPolicy:
    """Return a policy with its parameter set, wherever it is."""
    setting: dict[str, Any] = {parameter.field: int(value) if parameter.whole else value}
    if parameter.field in {field.name for field in fields(policy)}:
        return replace(policy, **setting)
    return replace(policy, trigger=replace(policy.trigger, **setting))  # type: ignore[type-var]

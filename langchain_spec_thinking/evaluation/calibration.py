"""Calibration: set a trigger's parameter by a figure that is easy to understand, the target's share of the text."""

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
    """A numeric parameter of a trigger or its policy. The target's share changes with it in one direction.

    Attributes:
        field: Name of the field.
        never: Value at which the target's share is lowest.
        always: Value at which the target's share is highest.
        whole: Whether the value is an integer.
        silent: Whether the trigger never fires at `never`. The target's share is then 0.
    """

    field: str
    never: float
    always: float
    whole: bool = False
    silent: bool = True


TUNABLE_PARAMETERS = {
    "RandomTrigger": TunableParameter("probability", never=0, always=1),
    "FirstTokenEntropy": TunableParameter("threshold", never=3, always=0),  # ln 20: entropy of 20 equal tokens
    "ScoreAndAccept": TunableParameter("threshold", never=0, always=10, whole=True),  # accept from this digit on
    # CueTrigger and TargetLeads match words, so they have no threshold. Their parameter is the length of a takeover,
    # which also limits how far into a step the words are searched. The lowest share of the target is not known in
    # advance.
    "CueTrigger": TunableParameter("takeover_tokens", never=1, always=256, whole=True, silent=False),
    "TargetLeads": TunableParameter("takeover_tokens", never=256, always=1, whole=True, silent=False),
}
"""Parameter to tune, by the name of the trigger's class."""


def parse_trigger(line: str) -> tuple[DelegationPolicy, TunableParameter]:
    """Read a trigger whose parameter is to be tuned.

    Args:
        line: Short name of the trigger. Further settings may follow after a comma, as in `parse_policy`.

    Returns:
        A policy with the parameter at its `always` value, and the parameter.

    Raises:
        ValueError: The trigger or a setting does not exist, or the line sets the parameter that is to be tuned.
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
    """The target's share at one value of a parameter, with its 95% interval."""

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
    """Find the value of a parameter at which the target writes a wanted share of the tokens.

    The first measurement is at `parameter.always`, where the share is highest. The search ends there if that share is
    not above `wanted`. If the trigger still fires at `parameter.never`, the second measurement is there. Further values
    come from the false position method. Its Illinois rule avoids slow convergence from one side.

    Args:
        share_at: Measures the share at a value.
        wanted: The wanted share, from 0 to 1.
        parameter: The parameter to change.
        close: Largest accepted difference between a measured share and `wanted`.
        rounds: Maximum number of measurements.

    Returns:
        All measurements. The one whose share is nearest to `wanted` comes first.
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
        if parameter.whole:  # keep it strictly between both ends until they are adjacent
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
    """Measure the target's share of the kept tokens, with its 95% interval over questions.

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
    """Return a copy of a policy with the parameter set. The parameter may belong to the policy or to its trigger."""
    setting: dict[str, Any] = {parameter.field: int(value) if parameter.whole else value}
    if parameter.field in {field.name for field in fields(policy)}:
        return replace(policy, **setting)
    return replace(policy, trigger=replace(policy.trigger, **setting))  # type: ignore[type-var]

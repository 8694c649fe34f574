"""Calibration: set a trigger's parameter by a figure that is easy to understand, the target's share of the text."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.policy_lines import parse_policy, triggers
from langchain_spec_thinking.evaluation.runs import answer_all
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
        lowest: Value at which the target's share is lowest.
        highest: Value at which the target's share is highest.
        integer: Whether the value is an integer.
        zero_at_lowest: Whether the trigger never fires at `lowest`. The target's share is then 0.
    """

    field: str
    lowest: float
    highest: float
    integer: bool = False
    zero_at_lowest: bool = True


TUNABLE_PARAMETERS = {
    "RandomTrigger": TunableParameter("probability", lowest=0, highest=1),
    "FirstTokenEntropy": TunableParameter("threshold", lowest=3, highest=0),  # ln 20: entropy of 20 equal tokens
    "ScoreAndAccept": TunableParameter("threshold", lowest=0, highest=10, integer=True),  # accept from this digit on
    # CueTrigger and TargetLeads match words, so they have no threshold. Their parameter is the length of a takeover,
    # which also limits how far into a step the words are searched. The lowest share of the target is not known in
    # advance.
    "CueTrigger": TunableParameter("takeover_tokens", lowest=1, highest=256, integer=True, zero_at_lowest=False),
    "TargetLeads": TunableParameter("takeover_tokens", lowest=256, highest=1, integer=True, zero_at_lowest=False),
}
"""Parameter to tune, by the name of the trigger's class."""


def parse_trigger(line: str) -> tuple[DelegationPolicy, TunableParameter]:
    """Read a trigger whose parameter is to be tuned.

    Args:
        line: Short name of the trigger. Further settings may follow after a comma, as in `parse_policy`.

    Returns:
        A policy with the parameter at its `highest` value, and the parameter.

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
        msg = f"--trigger {line}: leave out {parameter.field}, because calibration sets it"
        raise ValueError(msg)
    return parse_policy(f"{name}:trigger={line},{parameter.field}={parameter.highest}")[1], parameter


@dataclass(frozen=True)
class Measured:
    """The target's share at one value of a parameter, with its 95% interval."""

    value: float
    share: Interval


def calibrate_to_share(
    share_at: Callable[[float], Interval],
    wanted_share: float,
    parameter: TunableParameter,
    *,
    tolerance: float = 0.01,
    rounds: int = 6,
) -> list[Measured]:
    """Find the value of a parameter at which the target writes a wanted share of the tokens.

    The first measurement is at `parameter.highest`, where the share is highest. The search ends there if that share is
    not above `wanted_share`. If the trigger still fires at `parameter.lowest`, the second measurement is there. Further
    values come from the false position method. Its Illinois rule avoids slow convergence from one side.

    Args:
        share_at: Measures the share at a value.
        wanted_share: The share to reach, from 0 to 1.
        parameter: The parameter to change.
        tolerance: Largest accepted difference between a measured share and `wanted_share`.
        rounds: Maximum number of measurements.

    Returns:
        All measurements. The one whose share is nearest to `wanted_share` comes first.
    """
    measured = [Measured(parameter.highest, share_at(parameter.highest))]
    most, least = measured[0].share.value, 0.0
    if not parameter.zero_at_lowest and most - wanted_share > tolerance:
        measured.append(Measured(parameter.lowest, share_at(parameter.lowest)))
        least = measured[1].share.value
    ends = [(float(parameter.lowest), least - wanted_share), (float(parameter.highest), most - wanted_share)]
    last = None
    while (
        least < wanted_share < most
        and len(measured) < rounds
        and abs(measured[-1].share.value - wanted_share) > tolerance
    ):
        (a, below), (b, above) = ends
        value = (a * above - b * below) / (above - below)
        value = round(value, 4)
        if parameter.integer:  # keep it strictly between both ends until they are adjacent
            value = min(max(round(value), round(min(a, b)) + 1), round(max(a, b)) - 1)
        if value in {a, b}:
            break
        measured.append(Measured(value, share_at(value)))
        excess = measured[-1].share.value - wanted_share
        side = int(excess > 0)
        ends[side] = (value, excess)
        if side == last:
            ends[1 - side] = (ends[1 - side][0], ends[1 - side][1] / 2)
        last = side
    return sorted(measured, key=lambda measurement: abs(measurement.share.value - wanted_share))


def measure_share(
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
    for question, result in answer_all(variant, questions, concurrency):
        error = result if isinstance(result, str) else result.error
        if isinstance(result, str) or error:
            msg = f"{question.question[:60]!r} ended in an error: {error}"
            raise RuntimeError(msg)
        outcome = Outcome.of_record(question.id, result.as_dict())
        parts.append(outcome.tokens["target"])
        wholes.append(outcome.length)
        progress()
    return ratio(parts, wholes)


def with_value(policy: DelegationPolicy, parameter: TunableParameter, value: float) -> DelegationPolicy:
    """Return a copy of a policy with the parameter set. The parameter may belong to the policy or to its trigger."""
    setting: dict[str, Any] = {parameter.field: int(value) if parameter.integer else value}
    if parameter.field in {field.name for field in fields(policy)}:
        return replace(policy, **setting)
    return replace(policy, trigger=replace(policy.trigger, **setting))  # type: ignore[type-var]

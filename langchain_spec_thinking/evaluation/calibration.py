"""Calibration: set a trigger's parameter by a figure that is easy to understand, the target's share of the text."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.outcomes import Outcome
from langchain_spec_thinking.evaluation.policy_lines import parse_policy, trigger_class
from langchain_spec_thinking.evaluation.runs import answer_all
from langchain_spec_thinking.evaluation.statistics import Interval, ratio
from langchain_spec_thinking.evaluation.variants import Variant
from langchain_spec_thinking.policy.triggers import TRIGGERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.chat_models import ChatSpeculativeThinking
    from langchain_spec_thinking.evaluation.questions import Question
    from langchain_spec_thinking.policy import DelegationPolicy
    from langchain_spec_thinking.policy.triggers import TunableParameter


def tunable_triggers() -> list[str]:
    """Return the short names of the triggers that can be calibrated."""
    return sorted(name for name, kind in TRIGGERS.items() if kind.tunable)


def parse_trigger(line: str) -> tuple[DelegationPolicy, TunableParameter]:
    """Read a trigger whose parameter is to be tuned.

    Args:
        line: Name of the trigger: a short name or `module:Class`. Further settings may follow after a comma, as in
            `parse_policy`.

    Returns:
        A policy with the parameter at its `at_highest_share` value, and the parameter.

    Raises:
        ValueError: The trigger or a setting does not exist, the trigger has no parameter to tune, or the line sets this
            parameter.
    """
    name, *settings = line.split(",")
    kind = trigger_class(name)
    if kind.tunable is None:
        unable = f"{kind.__name__} defines no parameter that can be tuned (`tunable`)"
        msg = f"--trigger {name}: expected one of {', '.join(tunable_triggers())}. {unable}"
        raise ValueError(msg)
    parameter = kind.tunable
    if any(setting.partition("=")[0].strip() == parameter.field for setting in settings):
        msg = f"--trigger {line}: leave out {parameter.field}, because calibration sets it"
        raise ValueError(msg)
    return parse_policy(f"calibrated:trigger={line},{parameter.field}={parameter.at_highest_share}")[1], parameter


@dataclass(frozen=True)
class Measured:
    """The target's share at one value of a parameter, with its 95% interval."""

    value: float
    share: Interval

    def is_near(self, wanted_share: float) -> bool:
        """Return whether the value is of use for a wanted share: it misses the share by at most half of it."""
        return abs(self.share.value - wanted_share) <= wanted_share / 2


def calibrate_to_share(
    share_at: Callable[[float], Interval],
    wanted_share: float,
    parameter: TunableParameter,
    *,
    tolerance: float = 0.01,
    rounds: int = 6,
) -> list[Measured]:
    """Find the value of a parameter at which the target writes a wanted share of the tokens.

    The first measurement is at `parameter.at_highest_share`. The search ends there if the share is not above
    `wanted_share`. If the trigger still fires at `parameter.at_lowest_share`, the second measurement is there. Further
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
    measured = [Measured(parameter.at_highest_share, share_at(parameter.at_highest_share))]
    most, least = measured[0].share.value, 0.0
    if not parameter.zero_at_lowest and most - wanted_share > tolerance:
        measured.append(Measured(parameter.at_lowest_share, share_at(parameter.at_lowest_share)))
        least = measured[1].share.value
    ends = [
        (float(parameter.at_lowest_share), least - wanted_share),
        (float(parameter.at_highest_share), most - wanted_share),
    ]
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

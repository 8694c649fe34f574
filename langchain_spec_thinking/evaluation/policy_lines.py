"""Policies in one line of text, as typed: `coin:trigger=random,probability=0.2,takeover_tokens=40`."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.user_code import import_object
from langchain_spec_thinking.json_values import read_json
from langchain_spec_thinking.policy import CueTrigger, DelegationPolicy, Lexicon, ReferenceRules
from langchain_spec_thinking.policy.data import as_data, policy_from_data
from langchain_spec_thinking.policy.escalation.registry import ESCALATIONS, escalation_name
from langchain_spec_thinking.policy.triggers.registry import TRIGGERS, register_trigger, short_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.policy import Escalation, Trigger

FORM = "NAME:setting=value,... or NAME:FILE.json"
_IN_FILES = {"lexicon", "budget", "escalation", "compare", "rules", "reference_rules"}
"""Fields that a line cannot set as a whole. A line can set each field of a lexicon, and of a rule that it names."""
_MODES = ("reasoning", "non_reasoning", "gated", "paper")
_NAMED_MODES = ("gated", "paper")
"""A policy with one of these names has this mode unless its line sets another one."""


def parse_policy(line: str) -> tuple[str, DelegationPolicy]:
    """Read a policy and its name.

    Args:
        line: `NAME` is the default policy. The names `gated` and `paper` are `DelegationPolicy.gated()` and
            `DelegationPolicy.paper()`. `NAME:FILE.json` reads a file that `calibrate` or `policy.data.as_data` wrote.
            `NAME:setting=value,...` changes settings: fields of `DelegationPolicy`, of its trigger and of `Lexicon`,
            `mode=non_reasoning`, `mode=gated` or `mode=paper` (then also `choose_large=False`), and `trigger=` with the
            name of a trigger (see `trigger_class`). `escalation=` names a rule: `agreement`, `stall` or `confidence`.
            Its fields are settings too. `|` separates the items of a list.

    Raises:
        ValueError: The line does not describe a policy.
        OSError: The file cannot be read.
    """
    name, _, rest = line.partition(":")
    if not name.strip():
        msg = f"{line}: expected {FORM}"
        raise ValueError(msg)
    try:
        if rest.endswith(".json"):
            return name, _from_file(Path(rest))
        defaults = {"mode": name} if name in _NAMED_MODES else {}
        return name, _from_settings(defaults | dict(_pairs(rest)))
    except ValueError as e:
        msg = f"{line}: {e}"
        raise ValueError(msg) from e


def format_policy(name: str, policy: DelegationPolicy) -> str:
    """Write a policy as a line that `parse_policy` reads. Leave out default values.

    Raises:
        ValueError: A line cannot express the policy.
    """
    trigger = policy.trigger
    settings: dict[str, Any] = {} if isinstance(trigger, CueTrigger) else {"trigger": line_name(type(trigger))}
    plain = DelegationPolicy(trigger=trigger)  # some defaults depend on the trigger
    settings |= _changed(trigger, but="lexicon")
    settings |= {
        name: getattr(policy, name) for name in sorted(_names(policy)) if getattr(policy, name) != getattr(plain, name)
    }
    rules = settings.pop("reference_rules", ReferenceRules())
    if rule := settings.pop("escalation", None):
        settings |= {"escalation": escalation_name(type(rule)), **_changed(rule)}
    if "lexicon" in _names(trigger) and trigger.lexicon != _default(type(trigger), "lexicon"):
        settings |= _changed_cues(trigger.lexicon)
    if rules != ReferenceRules():
        substrings = settings.pop("substrings", False)
        settings |= {"mode": "paper"} | ({} if substrings else {"substrings": False})
        settings |= {"choose_large": False} if rules.keep_agreeing_drafts else {}
    line = ",".join(f"{setting}={_format_value(value)}" for setting, value in settings.items())
    line = f"{name}:{line}" if line else name
    if not _round_trips(line, policy):
        msg = f"{name}: this policy does not fit in a line. Save it as JSON"
        raise ValueError(msg)
    return line


def trigger_class(name: str) -> type[Trigger]:
    """Return the trigger that a line names.

    Args:
        name: A short name (see `TRIGGERS`), or `module:Class` for a trigger of your own. The module is imported; it may
            be in the working directory.

    Raises:
        ValueError: There is no such trigger, or the class is incomplete.
    """
    if name in TRIGGERS:
        return TRIGGERS[name]
    if not str(name).partition(":")[2]:
        msg = f"{name}: expected one of {', '.join(sorted(TRIGGERS))}, or module:Class for a trigger of your own"
        raise ValueError(msg)
    kind: type[Trigger] = import_object(name)
    try:
        return register_trigger(kind)
    except TypeError as e:
        msg = f"{name}: {e}"
        raise ValueError(msg) from e


def line_name(kind: type[Trigger]) -> str:
    """Return the name of a trigger in a line: its short name, or `module:Class` outside this package."""
    package = __name__.partition(".")[0]
    own = kind.__module__.partition(".")[0] == package
    return short_name(kind) if own else f"{kind.__module__}:{kind.__qualname__}"


def _round_trips(line: str, policy: DelegationPolicy) -> bool:
    try:
        return parse_policy(line)[1] == policy
    except ValueError:
        return False


def _from_settings(settings: dict[str, Any]) -> DelegationPolicy:
    mode = settings.pop("mode", "reasoning")
    if mode not in _MODES:
        msg = f"mode: expected one of {', '.join(_MODES)}, got {mode!r}"
        raise ValueError(msg)
    kind: Any = trigger_class(settings.pop("trigger", "no_takeovers" if mode == "gated" else "cue"))
    rule: Any = _escalation_class(settings.pop("escalation", "agreement" if mode == "gated" else None))
    if mode == "paper":
        settings = {"substrings": True, **settings}
    reference = {"choose_large": settings.pop("choose_large", True)} if mode == "paper" else {}
    policy, trigger, lexicon, escalation = _grouped(settings, kind, rule)
    trigger |= {name: _cues(value) for name, value in trigger.items() if isinstance(_default(kind, name), tuple)}
    if lexicon:
        lists: dict[str, Any] = {n: value if n == "substrings" else _cues(value) for n, value in lexicon.items()}
        trigger["lexicon"] = Lexicon(**lists)
    if mode == "non_reasoning" and kind is not CueTrigger:
        msg = (
            "with mode=non_reasoning, leave out trigger, because the large model begins every paragraph. To give it "
            "only the beginning of the turn, use opening_tokens=100"
        )
        raise ValueError(msg)
    modes: dict[str, Any] = {"non_reasoning": DelegationPolicy.non_reasoning, "paper": DelegationPolicy.paper}
    new: Callable[..., DelegationPolicy] = modes.get(mode, DelegationPolicy)
    try:
        if rule:
            policy["escalation"] = rule(**escalation)
        return new(trigger=kind(**trigger), **policy, **reference)
    except TypeError as e:
        msg = f"{short_name(kind)}: {e}"
        raise ValueError(msg) from e


def _grouped(settings: dict[str, Any], kind: Any, rule: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - two classes
    """Return the settings of the policy, of its trigger, of the lexicon of the trigger, and of the rule."""
    classes = (DelegationPolicy, kind, Lexicon if "lexicon" in _names(kind) else None, rule)
    names = [_names(one) - _IN_FILES if one else set() for one in classes]
    groups: list[dict[str, Any]] = [{} for _ in classes]
    for setting, value in settings.items():
        group = next((group for known, group in zip(names, groups, strict=True) if setting in known), None)
        if group is None:
            expected = ", ".join(sorted({"mode", "escalation"}.union(*names)))
            msg = f"{setting}: no such setting; expected one of {expected}"
            raise ValueError(msg)
        group[setting] = value
    return groups


def _escalation_class(name: object) -> type[Escalation] | None:
    """Return the rule of escalation that a line names. None if it names none."""
    if name is None or str(name) in ESCALATIONS:
        return ESCALATIONS.get(str(name))
    msg = f"escalation: expected one of {', '.join(sorted(ESCALATIONS))}, got {name!r}"
    raise ValueError(msg)


def _from_file(path: Path) -> DelegationPolicy:
    data = read_json(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        msg = f"expected the object that calibrate writes, got {type(data).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - one error type for every bad policy
    return policy_from_data(data)


def _pairs(text: str) -> list[tuple[str, Any]]:
    pairs = []
    for setting in filter(None, text.split(",")):
        name, equals, value = setting.partition("=")
        if not equals:
            msg = f"expected setting=value, got {setting!r}"
            raise ValueError(msg)
        pairs.append((name.strip(), _value(value.strip())))
    return pairs


def _value(text: str) -> Any:  # noqa: ANN401 - each setting has its own type
    try:
        return read_json({"None": "null", "True": "true", "False": "false"}.get(text, text))
    except ValueError:
        return text.replace("\\n", "\n").replace("\\t", "\t")


def _format_value(value: object) -> str:
    if isinstance(value, str):
        return value.replace("\n", "\\n").replace("\t", "\\t")
    return "|".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _cues(value: object) -> tuple[str, ...]:
    return tuple(cue.strip() for cue in str(value).split("|") if cue.strip())


def _changed(instance: Any, but: str = "") -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    values = {field.name: getattr(instance, field.name) for field in fields(instance) if field.name != but}
    return {name: value for name, value in values.items() if value != _default(type(instance), name)}


def _changed_cues(lexicon: Lexicon) -> dict[str, Any]:
    """Return the fields of a lexicon that differ from the default. The default cues depend on `substrings`."""
    plain = Lexicon(substrings=lexicon.substrings)
    substrings = {"substrings": True} if lexicon.substrings else {}
    return substrings | {
        name: cues for name in sorted(_names(plain)) if (cues := getattr(lexicon, name)) != getattr(plain, name)
    }


def _default(kind: Any, name: str) -> Any:  # noqa: ANN401 - any dataclass
    (field,) = (field for field in fields(kind) if field.name == name)
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _names(of: Any) -> set[str]:  # noqa: ANN401 - any dataclass
    return {field.name for field in fields(of)}


def save_policy(policy: DelegationPolicy, path: Path) -> None:
    """Write a policy to a JSON file that `parse_policy` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_data(policy), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

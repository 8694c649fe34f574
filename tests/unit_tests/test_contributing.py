"""The additions that docs/contributing.md shows work, and an incomplete addition fails at import."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "langchain_spec_thinking"
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")

TRIGGER, STRATEGY, ENGINE = "Add a trigger", "Add a continuation strategy", "Add an engine"
CALL_FORMAT = "Add a call format"
USES = {
    TRIGGER: """
from langchain_spec_thinking.evaluation.calibration import parse_trigger, tunable_triggers, with_value
from langchain_spec_thinking.evaluation.policy_lines import format_policy, parse_policy
from langchain_spec_thinking.policy.data import as_data, policy_from_data
policy, parameter = parse_trigger("every_nth")
assert "every_nth" in tunable_triggers()
assert with_value(policy, parameter, 4).trigger.n == 4
assert policy_from_data(as_data(policy)) == policy
assert parse_policy(format_policy("x", policy)) == ("x", policy)
""",
    STRATEGY: """
from typing import get_args
from langchain_spec_thinking import OpenAIBackend
from langchain_spec_thinking.backends.replies.continuation import Continuation
from langchain_spec_thinking.turn import Message, Turn
assert "chat_field" in get_args(Continuation)
turn = Turn((Message("user", "hi"),))
turn.append("speculative", "Two and ")
backend = OpenAIBackend("m", base_url="http://127.0.0.1:9/v1", continuation="chat_field")
assert backend.profile.payload(turn).body["extra_body"] == {"response_prefix": "Two and "}
assert backend.describe()["continuation"] == "chat_field"
""",
    ENGINE: """
from types import SimpleNamespace
from langchain_spec_thinking.backends.openai.probes import identify
engine, context = identify([SimpleNamespace(id="m", owned_by="acme")], "m")
assert (engine.name, engine.raw) == ("Acme", True)
assert [strategy.name for strategy in engine.strategies] == ["chat_flag", "chat_instruct"]
""",
    CALL_FORMAT: """
from langchain_spec_thinking.backends.replies.answer_plan import plan_answer
from langchain_spec_thinking.backends.replies.call_formats import CALL_FORMATS, format_of
from langchain_spec_thinking.tools import Tools
from langchain_spec_thinking.turn import Message, Turn
granite = format_of("{{ '<|tool_call|>' }}")
assert granite is CALL_FORMATS["granite"]
tools = Tools(({"type": "function", "function": {"name": "add"}},), "add")
plan = plan_answer(Turn((Message("user", "hi"),), tools=tools), granite)
parser = plan.parser()
assert plan.prefix == '<|tool_call|>[{"name": "add", "arguments": '
assert [(call.name, call.arguments) for call in [*parser.feed('{"a": 1}'), *parser.rest()]] == [("add", '{"a": 1}')]
""",
}
FORGOTTEN = {
    "a trigger without its tunable parameter": (
        TRIGGER,
        r"\+    tunable = .*\n",
        "EveryNth: expected `tunable = TunableParameter(...)` for one of n, takeover_tokens",
    ),
    "a strategy that is not in the literal": (
        STRATEGY,
        r"[-+]StrategyName = .*\n",
        "chat_field: expected the name once in `StrategyName`",
    ),
    "a strategy that is not in the table": (
        STRATEGY,
        r"[-+]STRATEGIES = .*\n",
        "chat_field: expected the name once in `StrategyName` and one class with it in `STRATEGIES`",
    ),
    "an engine that nothing identifies": (
        ENGINE,
        r"\+ +owners=.*\n",
        "Acme: expected its address in `hosts`, or the `owned_by` of its models in `owners`",
    ),
    "a call format without its description": (
        CALL_FORMAT,
        r'\+ +"a JSON list .*\n',
        "JsonCallFormat.__init__() missing 1 required positional argument: 'description'",
    ),
    "a call format without its chat templates": (
        CALL_FORMAT,
        r'(?<=\(")<\|tool_call\|>',
        "template_marks: expected texts that a chat template contains, got ('',)",
    ),
}


def diff_of(heading: str) -> str:
    """Return the diff in a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return str(diff)


def apply(diff: str, root: Path) -> None:
    """Apply a diff whose hunks have no line numbers. The old lines of a hunk must occur exactly once in the file."""
    for name, hunks in re.findall(r"^--- a/.*\n\+\+\+ b/(.*)\n((?:(?!--- a/).*\n)*)", diff, re.MULTILINE):
        text = (root / name).read_text(encoding="utf-8")
        for hunk in filter(None, re.split(r"^@@\n", hunks, flags=re.MULTILINE)):
            lines = hunk.splitlines(keepends=True)
            old, new = ("".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
            assert text.count(old) == 1, f"{name}: expected these lines once:\n{old}"
            text = text.replace(old, new)
        (root / name).write_text(text, encoding="utf-8")


def run_with(diff: str, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code with a copy of the package to which the diff was applied."""
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "pocket-*"))
    apply(diff, folder)
    where = f"import {PACKAGE}\nassert {PACKAGE}.__file__.startswith({str(folder)!r})\n"
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", where + code], cwd=folder, capture_output=True, text=True, timeout=250, check=False
    )


@pytest.mark.parametrize("heading", USES)
def test_a_documented_addition_works(heading: str, tmp_path: Path) -> None:
    result = run_with(diff_of(heading), USES[heading], tmp_path)
    assert (result.stderr, result.returncode) == ("", 0)


@pytest.mark.parametrize(("heading", "line", "expected"), FORGOTTEN.values(), ids=FORGOTTEN)
def test_an_incomplete_addition_fails_at_import(heading: str, line: str, expected: str, tmp_path: Path) -> None:
    diff, omitted = re.subn(line, "", diff_of(heading))
    assert omitted
    result = run_with(diff, "", tmp_path)
    assert f"TypeError: {expected}" in result.stderr


@pytest.mark.parametrize("heading", USES)
def test_a_documented_addition_is_short(heading: str) -> None:
    assert len(re.findall(r"^\+(?!\+\+).*\S", diff_of(heading), re.MULTILINE)) <= 12


def test_every_file_with_a_trigger_is_imported() -> None:
    folder = ROOT / PACKAGE / "policy" / "triggers"
    imported = re.findall(
        r"^from \S+\.triggers\.(\w+) import", (folder / "__init__.py").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(imported) == sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")

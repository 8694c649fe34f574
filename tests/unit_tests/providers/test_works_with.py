"""The page that says which models can take over in mid-thought names every host and engine that the package knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from langchain_spec_thinking.backends.openai.engines import ENGINES as KNOWN
from langchain_spec_thinking.backends.openai.engines import Engine
from tests.unit_tests.providers.engines import ENGINES

PAGE = (Path(__file__).parents[3] / "docs" / "works-with.md").read_text(encoding="utf-8")
HOSTED = [engine for engine in KNOWN if engine.hosts]
VERDICTS = ("yes", "answer only", "no", "not checked")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = [[cell.strip() for cell in line[1:-1].split("|")] for line in part.splitlines() if line.startswith("| ")]
    return found[1:]


HOSTED_ROWS, ENGINE_ROWS = rows("Hosted models"), rows("Your own server, or this process")


def row_id(row: list[str]) -> str:
    return " ".join(row[:2])


@pytest.mark.parametrize("engine", HOSTED, ids=lambda engine: engine.name)
def test_every_known_host_has_a_row_with_a_strategy_that_auto_may_choose(engine: Engine) -> None:
    found = [row for row in HOSTED_ROWS if re.match(rf"{engine.name}\b", row[0])]
    assert found, f"docs/works-with.md: expected a row for {engine.name}"
    possible = {strategy.name for strategy in engine.strategies} | ({"raw"} if engine.raw else set())
    for row in found:
        if row[3] == "a test request decides":
            assert not engine.first_strategy_works
        else:
            assert set(re.findall(r"`(\w+)`", row[3])) <= possible


def test_every_engine_with_a_fake_has_a_row() -> None:
    names = {row[0] for row in ENGINE_ROWS}
    assert {kind.name.partition(",")[0] for kind in ENGINES} <= names


@pytest.mark.parametrize("row", HOSTED_ROWS, ids=row_id)
def test_a_verdict_on_a_host_has_a_source(row: list[str]) -> None:
    verdict, source = row[2], row[5]
    assert verdict.startswith(VERDICTS)
    assert verdict.startswith("not checked") or "](https://" in source


@pytest.mark.parametrize("row", ENGINE_ROWS, ids=row_id)
def test_a_verdict_on_an_engine_has_a_source(row: list[str]) -> None:
    assert row[1].startswith(VERDICTS)
    assert "](" in row[3]


@pytest.mark.parametrize("row", HOSTED_ROWS, ids=row_id)
def test_a_model_that_hides_its_thought_never_has_a_yes(row: list[str]) -> None:
    assert row[4] in {"shown", "hidden", "not written", "not checked", "depends on the upstream"}
    assert not (row[4] == "hidden" and row[2].startswith("yes"))


@pytest.mark.parametrize("row", [*HOSTED_ROWS, *ENGINE_ROWS], ids=row_id)
def test_a_row_says_when_it_was_checked(row: list[str]) -> None:
    assert re.fullmatch(r"at every change|20\d\d-\d\d-\d\d", row[-1])

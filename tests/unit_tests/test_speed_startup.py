"""Tests of the figure about the start: of Python, of the imports, and of the first token."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.speed import startup
from benchmarks.speed.loopback import StreamSettings, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.speed.startup import Costs


def costs(first_token: float) -> Costs:
    places = {"import": first_token / 2, "first_token": first_token}
    return {
        place: {"seconds": seconds, "processor_seconds": seconds / 2, "megabytes": 80.0, "modules": 900}
        for place, seconds in places.items()
    }


def test_the_pair_of_servers_is_compared_with_the_client_of_langchain() -> None:
    rounds = [
        {"two_servers": costs(ours), "langchain_openai": costs(theirs), "pocket": costs(9.0)}
        for ours, theirs in ((3.0, 2.0), (2.0, 2.0), (4.0, 2.0))
    ]
    figure = startup.versus(rounds)
    assert (figure.value, figure.low, figure.high, figure.runs) == (1.5, 1.0, 2.0, 3)
    programs = figure.details["programs"]
    assert programs["two_servers"]["first_token"]["seconds"] == 3.0
    assert programs["two_servers"]["import"]["seconds"] == 1.5
    assert programs["pocket"]["first_token"]["megabytes"] == 80.0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a server in another process. Only other processes connect to it."""
    with serving() as server:
        yield StreamSettings(tokens=50).url(server)


def test_a_program_is_measured_from_the_start_of_python_to_its_first_token(url: str, tmp_path: Path) -> None:
    cost = startup.run("two_servers", url, str(tmp_path))
    assert list(cost) == ["import", "first_token"]
    for key, value in cost["import"].items():
        assert 0 < value <= cost["first_token"][key], key
    assert cost["import"]["modules"] < cost["first_token"]["modules"]


LISTED = "\nprint(*{name.partition('.')[0] for name in sys.modules})"
HEAVY = {"langchain_openai", "matplotlib", "numpy", "pandas", "tiktoken", "torch", "transformers"}


def test_the_first_token_of_two_servers_needs_no_heavy_package(url: str) -> None:
    """Packages are counted, because a time says nothing on a busy machine."""
    statement, model = startup.PROGRAMS["two_servers"]
    code = startup.CODE.format(statement=statement, model=model) + LISTED
    done = subprocess.run([sys.executable, "-c", code, "0", url], check=True, capture_output=True, text=True)  # noqa: S603
    imported = set(done.stdout.splitlines()[-1].split())
    assert "openai" in imported
    assert imported & HEAVY == set()

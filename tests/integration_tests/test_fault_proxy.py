"""A short version of `make faults`, also with a client that loses text."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.faults import run
from benchmarks.faults.faults import Kind
from benchmarks.faults.server import MODEL, serving_pocket
from langchain_spec_thinking import OpenAIBackend
from langchain_spec_thinking.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn


class Forgetful(OpenAIBackend):
    """Treats a broken stream as a finished one, so it loses text."""

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        try:
            yield from super().continue_turn(turn, request)
        except BackendError:
            return


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving_pocket() as url:
        yield url


def run_with_faults(server: str, faults: int, kind: type[OpenAIBackend] = OpenAIBackend) -> dict[str, Any]:
    def client(url: str) -> OpenAIBackend:
        return kind(MODEL, base_url=url, tokenizer=MODEL, timeout=run.TIMEOUT, max_retries=10)

    turns = run.Run(server, faults, 1, client, questions=1, at_once=2)
    asyncio.run(turns.go())
    return run.report(turns, 0)


def test_faults_change_no_turn(server: str) -> None:
    found = run_with_faults(server, 60)
    assert run.passed(found), found["wrong_turns"]
    assert set(found["by_kind"]) == set(Kind)
    assert sum(figures["faults"] for figures in found["by_kind"].values()) == found["faults"] >= 60
    json.dumps(found)


def test_a_faulty_client_is_detected(server: str) -> None:
    found = run_with_faults(server, 5, Forgetful)
    assert found["lost"] > 0
    assert not run.passed(found)

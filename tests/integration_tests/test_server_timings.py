"""What real servers report about their own work: they need most of a turn's time, and read no text twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from benchmarks.speed.server_halves import Half, LlamaHalf, LocalHalf, VllmHalf
from benchmarks.speed.servers import Paired
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy
from tests.integration_tests.conftest import LARGE, SMALL, model_path
from tests.integration_tests.servers import ENGINES, KEY

if TYPE_CHECKING:
    from tests.integration_tests.servers import Server, Servers

TURNS = (
    "Salt makes the sea what it is. Where does it come from, and who has to live with it? Answer in five short lines.",
    "How did people find out that the moon has no air? Name five hints, each in a line of its own.",
    "A wheel that rolls does not slide. Explain this in a list with five lines, for somebody who repairs bicycles.",
    "Foxes live in many cities now. List five things that they eat there, and say where they find each of them.",
)
"""Questions with no common words at the beginning. If over half of the text in a slot is also the beginning of the next
prompt in this slot, llama.cpp does not keep the rest of it."""
USAGE = ("completion_tokens", "discarded_tokens")
DROPPED_MAX = 3
"""Largest mean number of tokens that a server may read twice for a request. A hand-over can drop a few tokens."""


def half(server: Server) -> LlamaHalf | VllmHalf:
    kind = LlamaHalf if server.engine.name == "llama-server" else VllmHalf
    return kind(server.model, server.url, KEY)


@pytest.mark.parametrize(("small", "large"), [("local", "llama-server"), ("llama-server", "vllm")])
def test_the_work_of_both_engines_explains_the_time_of_a_turn(servers: Servers, small: str, large: str) -> None:
    with ExitStack() as halves:
        first: Half = (
            LocalHalf(model_path(f"{SMALL}-hf"))
            if small == "local"
            else halves.enter_context(half(servers.get(small, SMALL)))
        )
        pair = Paired("pair", (first, halves.enter_context(half(servers.get(large, LARGE)))))
        timed = pair.timed("Explain in three short paragraphs how a bicycle stays upright.", 120)
    served = timed.works if small != "local" else timed.works[1:]
    for work in served:
        assert 0 < work.ideal_seconds <= 1.02 * work.seconds
        assert work.requests >= 1
    spent = sum(work.seconds for work in served)
    assert spent < timed.seconds
    if small != "local":
        assert spent > 0.5 * timed.seconds


def test_turns_at_the_same_time_read_no_text_twice(servers: Servers) -> None:
    """There are twice as many turns as slots, so turns lose their slots. Their texts are kept all the same.

    The servers are new, because the texts of other tests would be in the slots.
    """
    engine = ENGINES["llama-server"]
    with (
        servers.serving(engine, SMALL) as one,
        servers.serving(engine, LARGE) as other,
        half(one) as small,
        half(other) as large,
    ):
        pair = ChatSpeculativeThinking(
            speculative=small.backend,
            target=large.backend,
            policy=DelegationPolicy.non_reasoning(opening_tokens=20, takeover_tokens=12, boundary="\n"),
            temperature=0,
            max_tokens=100,
        )
        with small.watched(), large.watched(), ThreadPoolExecutor(len(TURNS)) as threads:
            messages = list(threads.map(pair.invoke, TURNS))
        reports = [message.response_metadata["speculative_thinking"] for message in messages]
        works = [
            each.work({name: sum(report["usage"][author][name] for report in reports) for name in USAGE}, ())
            for each, author in ((small, "speculative"), (large, "target"))
        ]
    hand_overs = sum(work.requests for work in works) - 2 * len(TURNS)
    assert hand_overs >= 2
    assert sum(work.read_again for work in works) <= DROPPED_MAX * hand_overs

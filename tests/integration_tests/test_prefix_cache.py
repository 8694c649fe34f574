"""Hand-overs on real vLLM servers: what a server has read once comes from its prefix cache.

vLLM tells what was cached when a stream ends. A draft that is closed at a boundary never gets there, with
`continuous_usage_stats` neither; its server counts it all the same, in a metric.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

import pytest
from transformers import AutoTokenizer

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy
from langchain_spec_thinking.backends.base import End
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.continuation import Raw
from tests.integration_tests.conftest import LARGE, SMALL

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.backends.replies.continuation import StrategyName
    from langchain_spec_thinking.turn import Turn
    from tests.integration_tests.servers import Server, Servers

BLOCK = 128
"""What vLLM caches on processors, in tokens: whole blocks; the part of one that is left over is read again."""
SEAM_MAX = 8
"""How many tokens may differ where the model's own text is split anew, and at the word that was cut off."""
QUESTION = (
    "Here are the rules of the house. "
    + " ".join(f"Rule {n}: whoever comes in at {n} o'clock closes door {n}." for n in range(1, 13))
    + "\n\nRepeat the rules, all twelve, word for word."
)
"""Three blocks to read, and a long answer that either model can go on with, in many lines."""


@dataclass(frozen=True)
class Read:
    """What a server did with the prompt of one request.

    Attributes:
        prompt: Its tokens.
        cached: How many of them came from the cache, by the server's own counter.
        told: The same, by the request's usage; None where the stream was closed before it told.
    """

    prompt: list[int]
    cached: float
    told: int | None


class Recorder(Backend):
    """Passes everything on, and notes what every request reads."""

    def __init__(self, server: Server, continuation: StrategyName) -> None:
        self.name = server.model
        self.reads: list[Read] = []
        self._server = server
        self._backend = server.backend_for(continuation)
        self._tokenizer = AutoTokenizer.from_pretrained(server.tokenizer)
        self._raw = Raw(ChatTemplate(self._tokenizer))

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        prompt = self._tokenizer.encode(self._raw.payload(turn).body["prompt"])
        before, usage = self._server.metric("prefix_cache_hits_total"), None
        try:
            with closing(self._backend.continue_turn(turn, request)) as events:
                for event in events:
                    usage = event.usage if isinstance(event, End) else usage
                    yield event
        finally:
            cached = self._server.metric("prefix_cache_hits_total") - before
            self.reads.append(Read(prompt, cached, usage.cached_tokens if usage else None))


@pytest.mark.parametrize("continuation", ["raw", "chat_flag"])
def test_a_server_reads_only_what_is_new_to_it(servers: Servers, continuation: StrategyName) -> None:
    small, large = (Recorder(servers.get("vllm", model), continuation) for model in (SMALL, LARGE))
    policy = DelegationPolicy.non_reasoning(opening_tokens=20, takeover_tokens=12, boundary="\n")
    pair = ChatSpeculativeThinking(speculative=small, target=large, policy=policy, temperature=0, max_tokens=250)
    report = pair.invoke(QUESTION).response_metadata["speculative_thinking"]
    assert report["takeovers"] >= 5
    for recorder, author in ((small, "speculative"), (large, "target")):
        reads = recorder.reads
        assert len(reads) == report["usage"][author]["requests"]
        for before, read in pairwise(reads):
            common = _common(before.prompt, read.prompt)
            assert common >= len(before.prompt) - SEAM_MAX  # a prompt only grows at its end
            assert read.cached > common - BLOCK
        assert len(reads[0].prompt) > 2 * BLOCK
        told = [read for read in reads if read.told is not None]
        assert [read.told for read in told] == [read.cached for read in told]
        assert report["usage"][author]["cached_tokens"] == sum(read.told or 0 for read in told)
    assert all(read.told is not None for read in large.reads)  # takeovers end by themselves


def _common(one: list[int], other: list[int]) -> int:
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))

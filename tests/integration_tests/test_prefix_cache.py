"""Hand-overs on real vLLM servers: text that a server has read before comes from its prefix cache.

vLLM reports the cached tokens at the end of a stream. A draft that is closed at a boundary has no such end, even with
`continuous_usage_stats`. But the server counts its cached tokens in a metric.
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
"""Block size of vLLM's cache on CPUs, in tokens. vLLM caches whole blocks, and reads an incomplete block again."""
SEAM_MAX = 8
"""Maximum number of tokens that may differ, if the model's text is tokenized again or a word was cut off."""
QUESTION = (
    "Here are the rules of the house. "
    + " ".join(f"Rule {n}: whoever comes in at {n} o'clock closes door {n}." for n in range(1, 13))
    + "\n\nRepeat the rules, all twelve, word for word."
)
"""A prompt of three blocks. The answer is long and has many lines, and either model can continue it."""


@dataclass(frozen=True)
class Read:
    """What a server did with the prompt of one request.

    Attributes:
        prompt: Tokens of the prompt.
        cached: Number of prompt tokens from the cache, by the server's own counter.
        reported: Number of prompt tokens from the cache, by the request's usage. None if the stream was closed before
            it reported the usage.
    """

    prompt: list[int]
    cached: float
    reported: int | None


class Recorder(Backend):
    """Passes all requests to a backend, and records what the server reads for each request."""

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
def test_a_server_reads_only_new_text(servers: Servers, continuation: StrategyName) -> None:
    small, large = (Recorder(servers.get("vllm", model), continuation) for model in (SMALL, LARGE))
    policy = DelegationPolicy.non_reasoning(opening_tokens=20, takeover_tokens=12, boundary="\n")
    pair = ChatSpeculativeThinking(speculative=small, target=large, policy=policy, temperature=0, max_tokens=160)
    report = pair.invoke(QUESTION).response_metadata["speculative_thinking"]
    assert report["takeovers"] >= 5
    for recorder, author in ((small, "speculative"), (large, "target")):
        reads = recorder.reads
        assert len(reads) == report["usage"][author]["requests"]
        for before, read in pairwise(reads):
            common = _common(before.prompt, read.prompt)
            assert common >= len(before.prompt) - SEAM_MAX  # a prompt grows only at its end
            assert read.cached > common - BLOCK
        assert len(reads[0].prompt) > 2 * BLOCK
        reported = [read for read in reads if read.reported is not None]
        assert [read.reported for read in reported] == [read.cached for read in reported]
        assert report["usage"][author]["cached_tokens"] == sum(read.reported or 0 for read in reported)
    assert all(read.reported is not None for read in large.reads)  # no takeover is closed early


def _common(one: list[int], other: list[int]) -> int:
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))

"""Prefetching does not change the text. Prefetched tokens are not read again, and the report counts them."""

from __future__ import annotations

import copy
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest
from langchain_core.messages import HumanMessage

from langchain_spec_thinking import (
    ChatSpeculativeThinking,
    CueTrigger,
    DelegationPolicy,
    HuggingFaceBackend,
    Lexicon,
    OpenAIBackend,
)
from langchain_spec_thinking.backends.base import Request, Usage
from langchain_spec_thinking.backends.prefetching import on_own_network
from langchain_spec_thinking.drivers import drive
from langchain_spec_thinking.run import Run
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_drafts import sibling
from tests.unit_tests.backends.test_huggingface import PROMPTS, counting, turn
from tests.unit_tests.wire import Server, refused, sse, text, usage

if TYPE_CHECKING:
    from collections.abc import Generator
    from concurrent.futures import Future

    import httpx2
    from transformers import PreTrainedModel

    from langchain_spec_thinking.backends.base import Event
    from langchain_spec_thinking.turn import Turn

OFTEN = CueTrigger(Lexicon(affirmation=(), reflection=("e",), verification=(), substrings=True))
POLICY = DelegationPolicy(trigger=OFTEN, boundary="a", takeover_tokens=6, opening_tokens=5)


class Awaited(HuggingFaceBackend):
    """A backend whose `prefetch` waits until it is done. So the number of prefetches does not depend on timing."""

    def prefetch(self, turn: Turn) -> Future[Usage] | None:
        reading = super().prefetch(turn)
        wait([reading] if reading else [])
        return reading


@pytest.mark.parametrize("vocabulary", ["same", "other"])
@pytest.mark.parametrize("target", [tiny.llama(1), tiny.sliding(1)], ids=["llama", "sliding"])
def test_text_is_the_same_with_prefetching_and_without(target: PreTrainedModel, vocabulary: str) -> None:
    tokenizer = tiny.piece_tokenizer()
    other = tiny.backend(tiny.llama(0, vocabulary=len(tokenizer)), tokenizer)
    small = tiny.backend(sibling(target)) if vocabulary == "same" else other
    prefetches = 0
    awaited = Awaited(target, tokenizer=tiny.byte_tokenizer())
    for prompt in PROMPTS[:3]:
        pairs: list[tuple[Literal["off", "on"], HuggingFaceBackend]] = [
            ("off", awaited),
            ("on", tiny.backend(target)),
            ("on", awaited),
        ]
        without, reading, waiting = (
            ChatSpeculativeThinking(
                speculative=small,
                target=backend,
                policy=POLICY,
                temperature=0.8,
                seed=2,
                max_tokens=80,
                prefetch=prefetch,
            ).invoke(prompt)
            for prefetch, backend in pairs
        )
        requests = [
            message.response_metadata["speculative_thinking"]["usage"]["target"]["requests"]
            for message in (without, waiting)
        ]
        assert reading.text == waiting.text == without.text
        prefetches += requests[1] - requests[0]
    assert prefetches > 3


def test_prefetched_tokens_are_not_read_again() -> None:
    model = copy.deepcopy(tiny.llama(1))
    backend, running = tiny.backend(model), turn()
    running.append("speculative", "the cat sat on the mat, and then the cat ate the rat.\n")
    with counting([model]) as read:
        reading = backend.prefetch(running)
        assert reading is not None
        wait([reading])
        ahead = read[0]
        usage = next(backend.continue_turn(running, Request(1)))
    used = reading.result()
    assert (used.prompt_tokens, used.cached_tokens) == (ahead, 0)
    assert usage == Usage(ahead, ahead - 1)


def test_a_model_does_not_prefetch_the_turn_that_it_writes() -> None:
    backend, running = tiny.backend(), turn()
    events = backend.continue_turn(running, Request(5))
    next(events)
    assert backend.prefetch(running) is None
    events.close()
    assert backend.prefetch(running) is not None


THOUGHT = "One.\n\nTwo two.\n\nThree three.\n\nWait, four."


@dataclass
class Patient(ScriptedBackend):
    """A backend that waits for the prefetch before it continues. So the order of requests does not depend on timing."""

    run: Run | None = None

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        for event in super().continue_turn(turn, request):
            prefetcher = self.run and self.run._prefetcher  # noqa: SLF001
            if prefetcher and prefetcher.running:
                wait([prefetcher.running])
            yield event


@pytest.mark.parametrize("fails", [False, True])
def test_a_server_gets_a_request_for_one_token_at_each_boundary(fails: bool) -> None:
    def answer() -> httpx2.Response:
        if server.requests[-1][1]["max_tokens"] > 1:
            return sse(text("Hold on.</think>Done."), usage(10, 6, cached=9))
        return refused(500)() if fails else sse(text("x", "length"), usage(9, 1, cached=8))

    server = Server(answer)
    small = Patient(lambda half: THOUGHT.removeprefix(half.thinking), thinks=True)
    model = ChatSpeculativeThinking(
        speculative=small, target=server.backend(max_retries=0), answer_by="target", prefetch="on"
    )
    run = model.new_run([HumanMessage("hi")])
    assert isinstance(run, Run)
    small.run = run
    list(drive(run))
    requested = [(body["prompt"].partition("<think>\n")[2], body["max_tokens"]) for _, body in server.requests]
    steps = ["One.\n\n", "One.\n\nTwo two.\n\n", "One.\n\nTwo two.\n\nThree three.\n\n"]
    assert requested == [*[(step, 1) for step in (steps[:1] if fails else steps)], (steps[-1], 28)]
    target = run.report.usage["target"]
    prefetches = 0 if fails else 3
    assert target.requests == 1 + prefetches
    assert (target.prompt_tokens, target.cached_tokens) == (10 + 9 * prefetches, 9 + 8 * prefetches)
    assert target.discarded_tokens == prefetches
    assert run.report.degraded == []
    assert run.turn.answer == "Done."


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://vllm:8000/v1", True),
        ("http://gpu-1.cluster.internal/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_auto_prefetches_if_it_is_free(url: str, own: bool) -> None:
    assert on_own_network(url) is own
    remote, local = OpenAIBackend("m", base_url=url, api_key="x"), tiny.backend()
    assert remote.prefetch_is_free(local) is own
    assert local.prefetch_is_free(remote)
    assert not local.prefetch_is_free(tiny.backend(tiny.llama(1)))  # both on one device
    assert local.prefetch_is_free(ScriptedBackend())  # its device is not known

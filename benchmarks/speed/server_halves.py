"""The halves of a pair on real servers, each with the work that its engine did for a turn."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import httpx2

from benchmarks.speed.recording import counted, needed_passes, replay
from benchmarks.speed.server_timings import LLAMA_FIELDS, LlamaClock, VllmClock
from benchmarks.speed.timing import seconds
from langchain_spec_thinking import HuggingFaceBackend, OpenAIBackend
from langchain_spec_thinking.backends.local.loading import load_model, load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Self

    from benchmarks.speed.recording import Pass
    from langchain_spec_thinking import Backend

    Usage = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine did for one model of a turn.

    Attributes:
        seconds: Time for all of it, by the engine's own clock.
        ideal_seconds: Time for what the kept tokens need at least, at the same speed.
        read_again: Number of tokens that it read although it had read or written them before.
        requests: Number of requests.
    """

    seconds: float
    ideal_seconds: float
    read_again: int
    requests: int


class Half(Protocol):
    """One model of a pair."""

    @property
    def backend(self) -> Backend:
        """The backend of the model."""

    def watched(self) -> AbstractContextManager[None]:
        """Note what the engine does for the turn in this context."""

    def work(self, usage: Usage, others: Sequence[str]) -> Work:
        """Return what the engine did for the watched turn.

        Args:
            usage: Usage of the model in the report of the turn.
            others: The texts of the other model that this model had to read.
        """


def kept(usage: Usage) -> int:
    """Return the number of tokens of a model that a turn has kept."""
    return usage["completion_tokens"] - usage["discarded_tokens"]


class _ServerHalf:
    """A model on a server. Its work is what the server reports. It is used in a `with` statement.

    Args:
        clock: Notes what the server reports.
        clients: The clients that this half closes. A backend leaves a client of the user open.
    """

    backend: OpenAIBackend

    def __init__(self, clock: LlamaClock | VllmClock, *clients: httpx2.Client) -> None:
        self._clock = clock
        self._clients = clients

    def __enter__(self) -> Self:
        """Return this half."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what the server reports in this context."""
        self._clock.clear()
        yield

    def work(self, usage: Usage, others: Sequence[str]) -> Work:
        """Return what the server did."""
        work = self._clock.work(others)
        return Work(work.seconds, work.ideal_seconds(kept(usage)), work.read_again, work.readings)


class LlamaHalf(_ServerHalf):
    """A model on llama.cpp's own server.

    Args:
        model: The model's name.
        url: URL of the server, which ends in `/v1`.
        key: API key of the server.
    """

    def __init__(self, model: str, url: str, key: str = "none") -> None:
        clock = LlamaClock()
        client = httpx2.Client(transport=clock)
        super().__init__(clock, client)
        self.backend = OpenAIBackend(model, base_url=url, api_key=key, http_client=client, extra_body=LLAMA_FIELDS)


class VllmHalf(_ServerHalf):
    """A model on vLLM.

    Args:
        model: The model's name.
        url: URL of the server, which ends in `/v1`.
        key: API key of the server.
    """

    def __init__(self, model: str, url: str, key: str = "none") -> None:
        headers = {"Authorization": f"Bearer {key}"}
        metrics = httpx2.Client(base_url=url.removesuffix("/v1"), headers=headers, timeout=60)
        clock = VllmClock(metrics)
        client = httpx2.Client(event_hooks={"request": [clock.note]})
        super().__init__(clock, client, metrics)
        self.backend = OpenAIBackend(model, base_url=url, api_key=key, http_client=client)


class LocalHalf:
    """A model in this process. Its work is the time of a bare loop over the same passes, right after the turn.

    Args:
        folder: Folder of the model.
    """

    def __init__(self, folder: Path) -> None:
        self._model = load_model(str(folder), dtype="float32", device="cpu", trust_remote_code=False)
        self._passes: list[Pass] = []
        self.backend = HuggingFaceBackend(self._model, load_tokenizer(str(folder)))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Record the passes in this context."""
        with counted([self._model]) as self._passes:
            yield

    def work(self, usage: Usage, others: Sequence[str]) -> Work:  # noqa: ARG002 - part of the interface
        """Make all passes again, and those that the kept tokens need."""
        needed = needed_passes(self._passes)
        read, new = (sum(len(step.ids) for step in passes) for passes in (self._passes, needed))
        made, ideal = (seconds(partial(self._replay, passes)) for passes in (self._passes, needed))
        return Work(made, ideal, max(0, read - new - usage["discarded_tokens"]), usage["requests"])

    def _replay(self, passes: Sequence[Pass]) -> None:
        for _ in replay([self._model], passes):
            pass

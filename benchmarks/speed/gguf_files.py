"""`gguf_vs_llama_cpp`: the same GGUF file in this process and on llama.cpp's own server."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import httpx2
import psutil  # type: ignore[import-untyped]
import torch

from benchmarks.pays.llama_servers import SERVER
from benchmarks.serving import serving
from benchmarks.speed.figures import Figure, Skipped
from benchmarks.speed.memory import peak_memory
from benchmarks.speed.pairs import MODELS
from langchain_spec_thinking import HuggingFaceBackend
from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.turn import Message, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tqdm import tqdm  # type: ignore[import-untyped]

PLAN = (("smollm2-135m-instruct", "float32"), ("smollm2-135m-instruct", "bfloat16"))
"""Models, each in a folder of its name as `model.gguf`, with the data type of their unpacked weights.

Loading takes most of the time of this part, so there is no larger model here.
"""
FILE = "model.gguf"
QUESTION = "Tell me about the sea."
TOKENS = 48
_BYTES = 1e9


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure every available model. The value of the figure is that of the last one; the details list all.

    Raises:
        Skipped: The server or all models are missing, or the run is quick.
    """
    if quick:
        msg = "A quick run loads no GGUF file, because this takes minutes. The integration tests load one"
        raise Skipped(msg)
    plan = available(PLAN, MODELS, SERVER)
    figures = {}
    for model, dtype in plan:
        bar.set_postfix_str(f"{model}, {dtype}")
        figures[f"{model}, {dtype}"] = compared(MODELS / model, dtype, TOKENS, 3, bar.update)
    last = list(figures.values())[-1]
    models = {name: figure.as_dict() for name, figure in figures.items()}
    return {"gguf_vs_llama_cpp": replace(last, details={**last.details, "models": models})}


def available(plan: Sequence[tuple[str, str]], models: Path, server: Path) -> list[tuple[str, str]]:
    """Return the part of the plan whose files exist.

    Raises:
        Skipped: The server or all models are missing. The message says which, and what to do.
    """
    if not server.exists():
        msg = f"{server}: no such file. `make .venv-llama-server/.ready` builds the server"
        raise Skipped(msg)
    found = [(model, dtype) for model, dtype in plan if (models / model / FILE).exists()]
    if not found:
        msg = f"no GGUF file in {models}: expected one of {', '.join(f'{model}/{FILE}' for model, _ in plan)}"
        raise Skipped(msg)
    return found


def compared(folder: Path, dtype: str, tokens: int, rounds: int, advance: Callable[[], object]) -> Figure:
    """Let both programs write the same number of tokens, alternately, with the same number of threads.

    Only the decoding is timed, not the reading of the prompt. The value is the ratio of the fastest rounds, because
    other programs on the machine can only make a round slower.
    """
    threads = torch.get_num_threads()
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as fresh,
        _llama_server(folder / FILE, threads) as (url, started),
    ):
        loaded = fresh.submit(_load, str(folder), dtype, threads).result()
        rates: dict[str, list[float]] = {"in_process": [], "llama_cpp": []}
        programs: dict[str, Callable[[], float]] = {
            "in_process": lambda: fresh.submit(_rate, tokens).result(),
            "llama_cpp": lambda: _server_rate(url, tokens),
        }
        for number in range(rounds):
            for name in list(programs) if number % 2 else list(programs)[::-1]:
                rates[name].append(programs[name]())
            advance()
        memory = {"in_process": fresh.submit(peak_memory).result() / _BYTES, "llama_cpp": _server_memory()}
    return versus(
        rates, tokens=tokens, threads=threads, seconds_to_load={**loaded, "llama_cpp": started}, gigabytes=memory
    )


def versus(rates: dict[str, list[float]], **details: Any) -> Figure:
    """Return the figure: the ratio of the highest rates. The interval is that of the ratios of the rounds.

    Args:
        rates: Tokens per second of each round, by `in_process` and `llama_cpp`.
        **details: Further results.
    """
    best = {name: max(values) for name, values in rates.items()}
    ratios = [ours / theirs for ours, theirs in zip(rates["in_process"], rates["llama_cpp"], strict=True)]
    figure = Figure.of(ratios, tokens_per_second=best, all_tokens_per_second=rates, **details)
    return replace(figure, value=best["in_process"] / best["llama_cpp"])


@contextmanager
def _llama_server(file: Path, threads: int) -> Iterator[tuple[str, float]]:
    """Serve a file inside this context. The context value is the server's address and the seconds until it was up."""
    command = (str(SERVER), "-m", str(file), "-t", str(threads), "-np", "1", "-c", "4096", "--no-webui")
    began = time.perf_counter()
    with TemporaryDirectory() as logs, serving(command, {}, Path(logs) / "server.log") as url:
        yield url, time.perf_counter() - began


def _server_rate(url: str, tokens: int) -> float:
    """Return how many tokens the server writes per second, by its own clock."""
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": tokens, "temperature": 0}
    reply = httpx2.post(f"{url}/chat/completions", json={**body, "ignore_eos": True}, timeout=600).raise_for_status()
    timings = reply.json()["timings"]
    return float(timings["predicted_n"] * 1e3 / timings["predicted_ms"])


def _server_memory() -> float:
    servers = [child for child in psutil.Process().children() if child.name() == SERVER.name]
    return float(max(server.memory_info().rss for server in servers) / _BYTES)


_backends: list[HuggingFaceBackend] = []
"""The backend of the process that a measurement starts."""


def _load(folder: str, dtype: str, threads: int) -> dict[str, float]:
    """Load the backend, and return the seconds for the model and the tokenizer together."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    backend = HuggingFaceBackend(folder, gguf_file=FILE, dtype=dtype)
    loaded = time.perf_counter() - began
    backend._model.eos.clear()  # noqa: SLF001 - no model ends before it has written its tokens
    _backends.append(backend)
    return {"in_process": loaded}


def _rate(tokens: int) -> float:
    """Return how many tokens the backend writes per second after the first ones."""
    (backend,) = _backends
    turn = Turn((Message("user", QUESTION),), thinks=backend.thinks)
    times, counts = [], []
    for event in backend.continue_turn(turn, Request(tokens, temperature=0.0)):
        if isinstance(event, Piece):
            times.append(time.perf_counter())
            counts.append(event.tokens or 1)
    return float(sum(counts[1:]) / (times[-1] - times[0]))

"""`overhead_vs_ideal_llama_cpp`: pairs on llama.cpp's own server."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.pays.llama_servers import SERVER
from benchmarks.serving import serving
from benchmarks.speed.pairs import MODELS
from benchmarks.speed.server_halves import LlamaHalf, LocalHalf
from benchmarks.speed.servers import QWEN, SMOLLM, Paired, measured, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm  # type: ignore[import-untyped]

    from benchmarks.speed.figures import Figure

QWEN_LARGE: Final = "qwen2.5-coder-1.5b-instruct"


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure a pair of a local model and a server, and pairs of two servers.

    Raises:
        Skipped: The server or a model is missing.
    """
    return measured("overhead_vs_ideal_llama_cpp", _pairs(quick=quick), bar, quick=quick)


def _pairs(*, quick: bool) -> Iterator[Paired]:
    """Yield the available pairs, the largest last. There are three servers at most."""
    has_large = not quick and (MODELS / QWEN_LARGE / "model.gguf").exists()
    with TemporaryDirectory() as logs, ExitStack() as servers:
        names = (SMOLLM, QWEN, *([QWEN_LARGE] if has_large else []))
        urls = {name: servers.enter_context(_server(name, Path(logs))) for name in names}
        halves = {name: servers.enter_context(LlamaHalf(name, url)) for name, url in urls.items()}
        local = LocalHalf(require(MODELS / f"{SMOLLM}-hf", "Expected the folder of a model for transformers"))
        yield Paired(f"{SMOLLM} in this process + {QWEN}", (local, halves[QWEN]))
        yield Paired(f"{SMOLLM} + {QWEN}", (halves[SMOLLM], halves[QWEN]))
        if has_large:
            yield Paired(f"{QWEN} + {QWEN_LARGE}", (halves[QWEN], halves[QWEN_LARGE]))


@contextmanager
def _server(model: str, logs: Path) -> Iterator[str]:
    """Serve a GGUF file. Only one half of a pair works at a time, so each server gets all cores."""
    program = require(SERVER, "`make .venv-llama-server/.ready` builds it")
    file = require(MODELS / model / "model.gguf", "Expected the GGUF file of a model")
    flags = ("-np", "1", "-c", "4096", "-t", str(os.cpu_count() or 1), "--no-webui")
    with serving((str(program), "-m", str(file), "--alias", model, *flags), {}, logs / f"{model}.log") as url:
        yield url

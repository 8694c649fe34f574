"""`overhead_vs_ideal_vllm`: pairs on vLLM."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from benchmarks.serving import serving
from benchmarks.speed.figures import Skipped
from benchmarks.speed.pairs import MODELS
from benchmarks.speed.server_halves import LocalHalf, VllmHalf
from benchmarks.speed.servers import QWEN, SMOLLM, Paired, measured, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm  # type: ignore[import-untyped]

    from benchmarks.speed.figures import Figure

PROGRAM: Final = Path(".venv-vllm/bin/vllm")
_ENVIRONMENT: Final = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # without this, vLLM binds all servers to the same core
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure a pair of a local model and a server, and a pair of two servers.

    Raises:
        Skipped: vLLM or a model is missing, or the run is quick. Two servers take minutes to start.
    """
    if quick:
        msg = "A quick run does not start vLLM. The integration tests measure a pair on servers that they start anyway"
        raise Skipped(msg)
    return measured("overhead_vs_ideal_vllm", _pairs(), bar, quick=quick)


def _pairs() -> Iterator[Paired]:
    """Yield both pairs. They have the same large model."""
    with TemporaryDirectory() as logs, ExitStack() as servers:
        urls = {name: servers.enter_context(_server(name, Path(logs))) for name in (SMOLLM, QWEN)}
        halves = {name: servers.enter_context(VllmHalf(name, url)) for name, url in urls.items()}
        yield Paired(f"{SMOLLM} in this process + {QWEN}", (LocalHalf(MODELS / f"{SMOLLM}-hf"), halves[QWEN]))
        yield Paired(f"{SMOLLM} + {QWEN}", (halves[SMOLLM], halves[QWEN]))


@contextmanager
def _server(model: str, logs: Path) -> Iterator[str]:
    program = require(PROGRAM, "`make .venv-vllm/.ready` installs it")
    weights = require(MODELS / f"{model}-hf", "Expected the folder of a model for transformers")
    flags = ("--served-model-name", model, "--dtype", "float32", "--enforce-eager", "--max-model-len", "4096")
    with serving((str(program), "serve", str(weights), *flags), _ENVIRONMENT, logs / f"{model}.log") as url:
        yield url

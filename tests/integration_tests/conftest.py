"""Real models and real servers on loopback.

The models lie in the folder that `SPEC_THINKING_MODELS` names. Where they are not there, tests that need them are
skipped, unless `SPEC_THINKING_REQUIRE_MODELS` is set: then they fail.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx2
import pytest

from langchain_spec_thinking import HuggingFaceBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = Path(os.environ.get("SPEC_THINKING_MODELS", "build/models")).absolute()
SMALL, LARGE = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"
START_MAX = 180.0
"""How long a server may take to start, in seconds; the machine may be busy."""


class Server(NamedTuple):
    """A running server: its address, the model's name there, a folder with the model's tokenizer."""

    url: str
    model: str
    tokenizer: str


def model_path(name: str) -> Path:
    path = MODELS / name
    if not path.exists():
        told = f"{name} is not in {MODELS}; point SPEC_THINKING_MODELS at a folder with the test models"
        if os.environ.get("SPEC_THINKING_REQUIRE_MODELS"):
            pytest.fail(told)
        pytest.skip(told)  # a developer without the models; CI sets SPEC_THINKING_REQUIRE_MODELS
    return path


@pytest.fixture(scope="session")
def small() -> HuggingFaceBackend:
    return HuggingFaceBackend(model_path(f"{SMALL}-hf"))


@pytest.fixture(scope="session")
def large() -> HuggingFaceBackend:
    return HuggingFaceBackend(model_path(f"{LARGE}-hf"))


@pytest.fixture(scope="session")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SmolLM2 behind `transformers serve`."""
    folder = str(model_path(f"{SMALL}-hf"))
    home = tmp_path_factory.mktemp("hub")  # the server lists models from a cache folder that must exist
    (home / "hub").mkdir()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", folder, "--device", "cpu"]
    # One thread for each server: on two cores, threads that wait for each other by spinning slow everything down.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    yield from _serving([*command, "--dtype", "bfloat16", "--host", "127.0.0.1"], environment, folder, folder, home)


@pytest.fixture(scope="session")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Qwen 0.5B behind the server of llama-cpp-python."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: make integration installs it")
    gguf, tokenizer = model_path(f"{LARGE}/model.gguf"), model_path(f"{LARGE}-hf")
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(gguf), "--model_alias", "qwen"]
    command += ["--n_ctx", "4096", "--n_threads", "1", "--host", "127.0.0.1", "--api_key", "sk-very-secret"]
    yield from _serving(command, dict(os.environ), "qwen", str(tokenizer), tmp_path_factory.mktemp("llama"))


def _serving(
    command: list[str], environment: dict[str, str], model: str, tokenizer: str, folder: Path
) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--port", str(port)], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/v1/models", log)
            yield Server(f"http://127.0.0.1:{port}/v1", model, tokenizer)
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_MAX
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx2.get(url, timeout=5)  # any answer is one, a refusal without the key too
        except httpx2.HTTPError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"no server at {url} after {START_MAX} s:\n{log.read_text(errors='replace')[-2000:]}")

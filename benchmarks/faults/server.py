"""The real server that the faults are put in front of."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx2

from langchain_spec_thinking import pocket

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = str(Path(pocket.__file__).parent / "pocket-small")
"""Its tokens are characters: text cut anywhere is read as the model wrote it, so it goes on as it would have."""
_COMMAND = Path(__file__).parents[2] / ".venv-transformers-serve" / "bin" / "transformers"
_START_MAX = 180.0
"""How long the server may take to start, in seconds."""


@contextmanager
def serving() -> Iterator[str]:
    """Serve the small pocket model with `transformers serve` while in this context; gives the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as home:
        (Path(home) / "hub").mkdir()  # the server lists models from a cache folder that must exist
        log = Path(home) / "log"
        command = [str(_COMMAND), "serve", MODEL, "--device", "cpu"]
        command += ["--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
        # One thread: on few cores, threads that wait for each other by spinning slow everything down.
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": home, "OMP_NUM_THREADS": "1"}
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            _wait(process, f"http://127.0.0.1:{port}/v1/models", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_MAX
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx2.get(url, timeout=5)
        except httpx2.HTTPError:
            time.sleep(0.5)
        else:
            return
    msg = f"no server at {url} after {_START_MAX:.0f} s:\n{log.read_text(errors='replace')[-2000:]}"
    raise RuntimeError(msg)

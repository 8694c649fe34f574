"""Servers in separate processes, for benchmarks and tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_START_MAX = 600.0
"""Longest start of a server, in seconds. Ray needed over 300 on two cores that two other test runs used."""
_STOP_MAX = 60.0
"""Longest stop of a server, in seconds."""


@contextmanager
def serving(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, key: str = "none", port: int = 0
) -> Iterator[str]:
    """Run a server on the loopback interface inside this context. The context value is its URL, which ends in `/v1`.

    Args:
        command: Command that starts the server. `--host` and `--port` are added.
        environment: Environment variables, in addition to those of this process.
        log: File for all output of the server.
        key: API key for the list of models. The server has started when it returns this list.
        port: Port of the server. 0: a free one.

    Raises:
        OSError: Another program uses the port.
        RuntimeError: The server does not start. The error contains the end of the log.
    """
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last server may just have ended
        free.bind(("127.0.0.1", port))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        if not _starts(process, url, key):
            msg = f"no server at {url} after {_START_MAX:.0f} s at most:\n{log.read_text(errors='replace')[-3000:]}"
            raise RuntimeError(msg)
        yield url
    finally:
        process.terminate()
        process.wait(_STOP_MAX)


def _starts(process: subprocess.Popen[bytes], url: str, key: str) -> bool:
    """Wait until the server lists its models. Return False if it stops or takes too long."""
    until = time.monotonic() + _START_MAX
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx2.get(f"{url}/models", headers={"Authorization": f"Bearer {key}"}, timeout=5).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.5)
        else:
            return True
    return False

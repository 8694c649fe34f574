"""The general pair: two real models on llama.cpp's own server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2

from benchmarks.serving import serving
from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_spec_thinking.turn import Author

SERVER: Final = Path(".venv-llama-server/bin/llama-server")
"""`make .venv-llama-server/.ready` builds it."""
MODELS: Final = Path("build/models")
"""Each model is in a folder of its name, as `model.gguf`."""
NAMES: Final[dict[Author, str]] = {
    "speculative": "qwen2.5-coder-0.5b-instruct",
    "target": "qwen2.5-coder-1.5b-instruct",
}
_PORTS: Final = (18_081, 18_082)
"""Ports of the servers. They are fixed, because stored answers belong to the address that gave them."""
SLOTS: Final = 8
"""Number of requests that a server answers at the same time. They share its context."""
_THREADS: Final = max(1, (os.cpu_count() or 1) // len(NAMES))
"""Threads of each server. Both servers work at the same time, and too many threads wait for one another."""
_FLAGS: Final = ("-np", str(SLOTS), "-c", "16384", "-t", str(_THREADS), "--no-webui")
_SECONDS_MAX: Final = 3600.0
"""Time limit of a turn, in seconds. It is long because eight turns share the cores, and the machine may be busy."""


@contextmanager
def llama_pair(models: Path, folder: Path, server: Path = SERVER) -> Iterator[ChatSpeculativeThinking]:
    """Serve both models inside this context. The context value is the pair, which decodes greedily.

    Args:
        models: Folder of the models. Each has a folder of its name with `model.gguf`.
        folder: Folder for the logs of the servers.
        server: The program `llama-server`.

    Raises:
        FileNotFoundError: The server or a model is missing. The message says how to get it.
        OSError: Another program uses one of the ports.
        RuntimeError: A server does not start.
    """
    if message := missing_files(models, server):
        raise FileNotFoundError(message)
    files = _files(models)
    folder.mkdir(parents=True, exist_ok=True)
    template = folder / "template.jinja"
    with serving((str(server), "-m", str(files["speculative"]), *_FLAGS), {}, folder / "template.log") as url:
        template.write_text(_mended(httpx2.get(url.replace("/v1", "/props")).json()["chat_template"]), encoding="utf-8")
    flags = (*_FLAGS, "--chat-template-file", str(template))
    small, large = ((str(server), "-m", str(files[side]), "--alias", NAMES[side], *flags) for side in NAMES)
    small_port, large_port = _PORTS
    with (
        serving(small, {}, folder / "small.log", port=small_port) as small_url,
        serving(large, {}, folder / "large.log", port=large_port) as large_url,
    ):
        yield pair_at(small_url, large_url)


def missing_files(models: Path = MODELS, server: Path = SERVER) -> str | None:
    """Return which file is missing and how to get it, or None if the server and both models are there."""
    for file in (server, *_files(models).values()):
        if not file.exists():
            return (
                f"{file}: no such file. `make .venv-llama-server/.ready` builds the server; the models are GGUF files"
            )
    return None


def _mended(template: str) -> str:
    """Return the chat template of Qwen2.5-Coder with other marks of a call, and an example call in single braces.

    Each mark of the template is one special token. These models hardly know the token that ends a call: after the call
    they write line ends until they have no tokens left. They write marks in letters. The template also shows an example
    call in double braces. The large model copies them, and then the server finds no call at all.
    """
    single = template.replace('{{\\"name\\"', '{\\"name\\"').replace("<args-json-object>}}", "<args-json-object>}")
    return single.replace("tool_call>", "call>")


def _files(models: Path) -> dict[Author, Path]:
    return {side: models / name / "model.gguf" for side, name in NAMES.items()}


def pair_at(small_url: str, large_url: str) -> ChatSpeculativeThinking:
    """Return the pair of two servers."""
    return ChatSpeculativeThinking(
        speculative=OpenAIBackend(NAMES["speculative"], base_url=small_url, timeout=_SECONDS_MAX),
        target=OpenAIBackend(NAMES["target"], base_url=large_url, timeout=_SECONDS_MAX),
        temperature=0,
        max_tokens=200,
        timeout=_SECONDS_MAX,
    )


def run_with_servers(
    measure: Callable[[ChatSpeculativeThinking, Path], dict[str, Any]],
    name: str,
    description: str | None,
    arguments: Sequence[str] | None,
) -> None:
    """Run the command line of a benchmark that needs both servers. It prints the figures, and writes them to a file.

    Args:
        measure: Function that measures the pair, and keeps its files in a folder.
        name: Name of the benchmark, for the folder and the file.
        description: What the benchmark does, for `--help`.
        arguments: The arguments. None: those of the command line.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path(f"build/pays-{name}"), help="folder of all files")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the models")
    parser.add_argument("--server", type=Path, default=SERVER, help="the program llama-server")
    options = parser.parse_args(arguments)
    with llama_pair(options.models, options.out, options.server) as pair:
        text = json.dumps(measure(pair, options.out), indent=1)
    (options.out / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(f"{text}\n")

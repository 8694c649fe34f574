"""The real server behind the fault proxies."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.serving import serving
from langchain_spec_thinking import pocket

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = str(Path(pocket.__file__).parent / "pocket-small")
"""The model's name. It reads a text that is cut after any of its tokens as the same tokens."""
_COMMAND = Path(__file__).parents[2] / ".venv-transformers-serve" / "bin" / "transformers"


@contextmanager
def serving_pocket() -> Iterator[str]:
    """Serve the small pocket model with `transformers serve` in this context. Yield the address."""
    command = [str(_COMMAND), "serve", MODEL, "--device", "cpu", "--dtype", "float32"]
    with TemporaryDirectory() as home:
        (Path(home) / "hub").mkdir()  # the server lists models from a cache folder that must exist
        # One thread, because on few cores threads that wait by spinning slow everything down.
        environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": home, "OMP_NUM_THREADS": "1"}
        with serving(command, environment, Path(home) / "log") as url:
            yield url

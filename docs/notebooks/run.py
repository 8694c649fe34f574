"""Run the notebooks, and compare their outputs with those in the files: `make notebooks`.

Measured times and costs differ from run to run, so they are not compared. `make notebooks NOTEBOOKS=--write` writes the
outputs to the files instead.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).parent
_TIMES = (
    (re.compile(r"<svg.*?</svg>", re.DOTALL), "<svg/>"),  # the timeline
    (re.compile(r"\d+\.\d+(?= s\b|</b> <span>seconds)"), "TIME"),
    (re.compile(r'(?<=class="spec-number">)\d+\.\d+</td><td class="spec-number">\d+(?=</td>)'), "TIME, SPEED"),
    (re.compile(r'(?<=class="spec-number">)\d+\.\d\d(?=</td></tr>)'), "TIME"),
    (re.compile(r"(?<=time: )\d+\.\d+(?= times)"), "TIME"),
)
_COSTS = re.compile(r"\$|^- ")
"""Matches lines with costs. They depend on how much of a text was in the cache when a draft was given up."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def run(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs of a new run. It runs in an empty folder."""
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets:
        client = NotebookClient(
            notebook,
            timeout=600,
            startup_timeout=600,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
            config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}),  # no port is opened
        )
        client.execute(env=os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"})  # tqdm wants ipywidgets
    notebook.metadata.language_info = {"name": "python"}  # without the version of Python
    for output in _outputs(notebook):
        if "text/html" in output.get("data", {}):
            output.data.pop("text/plain")  # it says the same
    return notebook


def without_times(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the outputs of a notebook as lines, without times, costs and the pixels of pictures."""
    lines: list[str] = []
    for output in _outputs(notebook):
        data = output.get("data", {"text": output.get("text", "")})
        for kind, text in sorted(data.items()):
            shown = "" if kind.startswith("image/") else text
            for times, place in _TIMES:
                shown = times.sub(place, shown)
            lines.append(f"{output.output_type} {output.get('name', '')} {kind}")
            lines += [_NUMBER.sub("N", line) if _COSTS.search(line) else line for line in shown.splitlines()]
    return lines


def check(path: Path, *, write: bool) -> list[str]:
    """Run a notebook, and return what is wrong with it.

    Args:
        path: The notebook.
        write: Write the new outputs to the file, instead of comparing them.
    """
    notebook = run(path)
    kept = without_times(nbformat.read(path, as_version=4))
    wrong = [f"{path.name} prints an error or a warning" for o in _outputs(notebook) if o.get("name") == "stderr"]
    if write:
        nbformat.write(notebook, path)
        return wrong
    return wrong + list(difflib.unified_diff(kept, without_times(notebook), path.name, "this run", lineterm=""))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all notebooks. Exit with the differences if there are any."""
    parser = argparse.ArgumentParser(
        description="Run the notebooks, and compare their outputs with those in the files."
    )
    parser.add_argument("--write", action="store_true", help="write the outputs to the files instead")
    write = parser.parse_args(arguments).write
    wrong = [line for path in sorted(FOLDER.glob("*.ipynb")) for line in check(path, write=write)]
    if wrong:
        raise SystemExit("\n".join([*wrong, "", "If the new outputs are right: make notebooks NOTEBOOKS=--write"]))


def _outputs(notebook: nbformat.NotebookNode) -> Iterator[Any]:
    return (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)


if __name__ == "__main__":
    main()

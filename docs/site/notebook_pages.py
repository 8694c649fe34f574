"""A hook of MkDocs that adds a page for each notebook: its Markdown, its code, and the outputs that it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook in `docs/notebooks`. The notebooks themselves are files of the site, too."""
    for path in sorted((Path(config.docs_dir) / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=as_page(path)))
    return files


def as_page(path: Path) -> str:
    """Return a notebook as Markdown.

    Args:
        path: A notebook with outputs. A link to this file follows the title.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, *rest = (part for cell in cells for part in _parts(cell))
    return "\n\n".join([title, f'<a href="{path.name}" download>Download this notebook</a>', *rest]) + "\n"


def _parts(cell: dict[str, Any]) -> list[str]:
    source = _text(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [f"```python\n{source}\n```", *map(_shown, cell["outputs"])]


def _shown(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"```text\n{_text(output['text'])}```"
    data = output["data"]
    if "text/html" in data:
        return f"<div>\n{_text(data['text/html'])}</div>"
    if "text/markdown" in data:
        return _text(data["text/markdown"])
    if "image/png" in data:
        alt = output["metadata"]["image/png"]["alt"]
        return f'<img alt="{alt}" src="data:image/png;base64,{_text(data["image/png"]).strip()}">'
    return f"```text\n{_text(data['text/plain'])}\n```"


def _text(lines: str | list[str]) -> str:
    """Return a text, which a notebook may hold as a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)

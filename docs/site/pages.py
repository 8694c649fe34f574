"""A hook of MkDocs that adds pages from outside `docs/` to the site.

The site shows the README and the recipes without changes, and under the same path as in the repository. Their links are
written for the repository; this hook changes the links to the places of the pages on the site. It also replaces
`<!-- commands -->` in a page with the help of the command line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = ("README.md", "CHANGELOG.md", "benchmarks/README.md", "integrations/**/*.md", "integrations/**/*.py")
COMMANDS = "<!-- commands -->"
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and recipes from outside `docs/`."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs passes these by name
    """Change the links of a page from paths in the repository to paths on the site, and insert the help."""
    source_folder = PurePosixPath(Path(page.file.abs_src_path or "").relative_to(ROOT)).parent
    page_folder = PurePosixPath(page.file.src_uri).parent

    def site_link(link: re.Match[str]) -> str:
        place = normpath(str(source_folder / link[1])).removeprefix("docs/")
        return relpath(place, str(page_folder))

    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, commands())
    return _LINK.sub(site_link, markdown)


def commands() -> str:
    """Return the help of `spec-thinking` and its commands."""
    docs = [sys.executable, "-m", "typer", "langchain_spec_thinking.cli.commands", "utils", "docs"]
    help_text = subprocess.run([*docs, "--name", "spec-thinking"], check=True, capture_output=True, text=True).stdout  # noqa: S603 - a fixed command
    return help_text.partition("\n")[2]  # without the first line, because the page has its own title

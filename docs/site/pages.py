"""A hook of MkDocs that adds pages from outside `docs/` to the site.

The site shows the README, the recipes and the notebooks without changes. Their links are written for the repository;
this hook changes the links to the places of the pages on the site. It also replaces `<!-- commands -->` in a page with
the help of the command line.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

from langchain_spec_thinking import __version__

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = ("CHANGELOG.md", "benchmarks/README.md", "integrations/**/*.md", "integrations/**/*.py")
MOVED = {"README.md": "overview.md"}
"""Pages that have another path on the site. The first page of the site is `docs/index.md`."""
COMMANDS = "<!-- commands -->"
_LINK = re.compile(r"(?P<file>\[[\w./-]+(?:\.md|/))?\]\((?![a-z]+:|#)(?P<path>[^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show the version of the package beside its name, and at the foot of each page."""
    config.site_name = f"{config.site_name} {__version__}"
    config.copyright = f"Version {__version__} · {config.copyright}"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and recipes from outside `docs/`."""
    paths = {path.relative_to(ROOT).as_posix(): path for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))}
    paths |= {place: ROOT / path for path, place in MOVED.items()}
    for place, path in paths.items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs passes these by name
    """Change the links of a page from paths in the repository to paths on the site, and insert the help."""
    source = Path(page.file.abs_src_path or ROOT / "docs" / page.file.src_uri).relative_to(ROOT)
    page_folder = PurePosixPath(page.file.src_uri).parent

    def site_link(link: re.Match[str]) -> str:
        path = normpath(str(source.parent / link["path"]))
        title = f"[{_title(ROOT / path)}" if link["file"] else ""
        place = MOVED.get(path, path.removeprefix("docs/"))
        if place.endswith(".ipynb"):
            place = place.removesuffix(".ipynb") + ".md"
        return f"{title}]({relpath(place, str(page_folder))}"

    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, commands())
    return _LINK.sub(site_link, markdown)


def _title(path: Path) -> str:
    """Return the title of a page. In the repository, some links name the file of a page instead."""
    return next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))[2:]


def commands() -> str:
    """Return the help of `spec-thinking` and its commands."""
    docs = [sys.executable, "-m", "typer", "langchain_spec_thinking.cli.commands", "utils", "docs"]
    help_text = subprocess.run([*docs, "--name", "spec-thinking"], check=True, capture_output=True, text=True).stdout  # noqa: S603 - a fixed command
    return help_text.partition("\n")[2]  # without the first line, because the page has its own title

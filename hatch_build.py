"""The description in the metadata of a wheel: the README without its pictures and without links into the repository.

The page of a package shows this text. It has no files of the repository beside it, and the project has no address yet
that the links could lead to.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_CODE = r"(?P<code>```.*?```|`[^`\n]*`)"
_TARGET = r"\((?!https?://)[^)]*\)"
_PICTURE = rf"!\[[^\]]*\]{_TARGET}"
_LINKED_PICTURE = rf"\[{_PICTURE}\]\([^)]*\)"
_LINK = rf"\[(?P<text>[^\]]*)\]{_TARGET}"
_PATTERN = re.compile(rf"{_CODE}|(?:{_LINKED_PICTURE}|{_PICTURE})\n*|{_LINK}", re.DOTALL)


def description(readme: str) -> str:
    """Return a README in Markdown without relative pictures. Relative links become their texts. Code stays as it is."""
    return _PATTERN.sub(lambda found: found["code"] or found["text"] or "", readme)


class ReadmeHook(MetadataHookInterface):
    """Puts the description into the metadata when hatchling builds the package."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `readme`."""
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": description(readme)}

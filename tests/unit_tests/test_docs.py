"""Pages whose code runs as it stands."""

from __future__ import annotations

import ast
import inspect
import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SHOWS = {"seeing.md": ["reflection (", "verification (", "'Hmm, wait,' -> ", "speculative_takeover ", " tokens"]}
"""What running a page prints, among other things."""


@pytest.mark.parametrize("page", SHOWS)
async def test_the_code_of_a_page_runs(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, Any] = {"__name__": "page"}
    with chdir(tmp_path):
        for block in blocks:
            running = eval(compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307
            if inspect.isawaitable(running):
                await running
    printed = capsys.readouterr().out
    for text in SHOWS[page]:
        assert text in printed

"""Write the results of an evaluation to its folder: figures, tables and plots."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_spec_thinking.evaluation.plots import draw
from langchain_spec_thinking.evaluation.tables import markdown

if TYPE_CHECKING:
    from os import PathLike

    from langchain_spec_thinking.evaluation.results import Evaluation


def require_extra() -> None:
    """Check that the packages for tables and plots are installed. Call it before a long run.

    Raises:
        ImportError: The extra `[evaluate]` is not installed.
    """
    missing = [name for name in ("matplotlib", "scipy") if find_spec(name) is None]
    if missing:
        msg = f"{' and '.join(missing)} missing: pip install 'langchain-spec-thinking[evaluate]'"
        raise ImportError(msg)


def save(evaluation: Evaluation, folder: str | PathLike[str]) -> list[Path]:
    """Write `results.json`, `results.md` and the plots.

    Returns:
        The files that were written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures, tables = folder / "results.json", folder / "results.md"
    figures.write_text(
        json.dumps(evaluation.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    tables.write_text(markdown(evaluation), encoding="utf-8")
    return [figures, tables, *draw(evaluation, folder)]

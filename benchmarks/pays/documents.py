"""Write the tables and the plot of the documentation: `python -m benchmarks.pays.documents build/pays.json`.

The figures are kept in `measured.json` beside this file. A test checks that the pages show exactly these figures.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.pays.drawing import draw
from benchmarks.pays.tables import LARGE, SMALL, agent_table, rule_table, short_table, table, vendor_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
MEASURED = Path(__file__).with_name("measured.json")
PLOT = ROOT / "docs" / "images" / "results_pays.png"
RULES = {
    SMALL: "",
    "agreement of 2": "Agreement(samples=2)",
    "agreement of 3": "Agreement(samples=3)",
    "agreement of 4": "Agreement(samples=4)",
    LARGE: "",
}
"""The runs in docs/escalation.md, and how each rule is written."""


def tables(measured: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the tables, by page and name of the mark before the table."""
    pairs = measured["pairs"]
    pocket = pairs["pocket"]
    variants = [SMALL, "agreement of 2", "pair", pocket["recommended"], LARGE]
    agents = {("docs/agents.md", "pays agents"): agent_table(measured["agents"])} if "agents" in measured else {}
    return {
        ("docs/results.md", "pays pocket"): table(pocket),
        ("docs/results.md", "pays general"): table(pairs["general"]),
        ("docs/results.md", "pays vendors"): vendor_table(pairs),
        ("docs/escalation.md", "pays escalation"): rule_table(pocket, RULES),
        **agents,
        ("README.md", "pays"): short_table(pocket, variants),
        ("docs/index.md", "pays home"): short_table(pocket, variants),
    }


def with_table(page: str, name: str, written: str) -> str:
    """Return a page with another table between the marks of this name.

    Raises:
        ValueError: The page does not have both marks.
    """
    begin, end = f"<!-- {name}: written by benchmarks.pays.documents -->\n", f"<!-- {name}: end -->\n"
    found = re.compile(f"({re.escape(begin)}).*?({re.escape(end)})", re.DOTALL)
    if not found.search(page):
        msg = f"{name}: expected a table between {begin.strip()} and {end.strip()}"
        raise ValueError(msg)
    return found.sub(lambda match: f"{match[1]}\n{written}\n{match[2]}", page)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write the tables and the plot of the documentation.")
    parser.add_argument("file", type=Path, nargs="?", default=MEASURED, help="build/pays.json; else the kept figures")
    parser.add_argument("--agents", type=Path, help="agents.json of benchmarks.pays.agents; else the kept figures")
    options = parser.parse_args(arguments)
    measured = _read(MEASURED)
    measured["pairs"] |= _read(options.file)["pairs"]
    if options.agents:
        measured["agents"] = _read(options.agents)
    MEASURED.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    for (file, name), written in tables(measured).items():
        page = ROOT / file
        page.write_text(with_table(page.read_text(encoding="utf-8"), name, written), encoding="utf-8")
    draw(measured["pairs"]["pocket"], PLOT)


def _read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()

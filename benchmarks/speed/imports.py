"""Time and memory of imports, each in fresh processes: `python -m benchmarks.speed.imports`.

The time is processor time, because it depends less on what else the machine does. Each round measures every import
once, so that a busy minute affects all of them. The first round is not counted: it fills the cache of the disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE = "from langchain_core.language_models import BaseChatModel"
"""What every integration of LangChain imports."""
STATEMENTS = (BASE, "import langchain_spec_thinking", "import langchain_openai")
_CODE = """
import json, resource, sys, time
before, began = set(sys.modules), time.process_time()
{statement}
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([seconds, peak, len(set(sys.modules) - before)]))
"""


@dataclass(frozen=True)
class Cost:
    """What an import costs.

    Attributes:
        seconds: Processor time of the import.
        megabytes: Peak of the memory of the process, with Python itself.
        modules: Number of modules that were imported.
    """

    seconds: float
    megabytes: float
    modules: int


def measure(statement: str) -> Cost:
    """Run an import in a fresh process."""
    code = _CODE.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    return Cost(*json.loads(done.stdout))


def medians(rounds: Sequence[Sequence[Cost]]) -> list[Cost]:
    """Return the median of each figure of each statement. The first round is not counted."""
    return [
        Cost(median(c.seconds for c in costs), median(c.megabytes for c in costs), costs[-1].modules)
        for costs in zip(*rounds[1:], strict=True)
    ]


def table(costs: Sequence[Cost]) -> str:
    """Return the figures as a table in Markdown, with their ratios to the first statement."""
    base = costs[0]
    lines = ["| import | processor time | peak memory | modules |", "|---|---:|---:|---:|"]
    for statement, cost in zip(STATEMENTS, costs, strict=True):
        seconds = f"{cost.seconds:.2f} s ({cost.seconds / base.seconds:.2f})"
        memory = f"{cost.megabytes:.0f} MB ({cost.megabytes / base.megabytes:.2f})"
        lines.append(f"| `{statement}` | {seconds} | {memory} | {cost.modules} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Time and memory of imports, each in fresh processes.")
    parser.add_argument("--rounds", type=int, default=7)
    count = parser.parse_args().rounds
    rounds = [[measure(statement) for statement in STATEMENTS] for _ in range(count + 1)]
    print(table(medians(rounds)))  # noqa: T201 - the result


if __name__ == "__main__":
    main()

"""Write held-out problems as a data set for `spec-thinking evaluate`."""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pocket.problems import HARDER, QUESTIONS, problems

if TYPE_CHECKING:
    from collections.abc import Sequence


INSTRUCTION = "\n\nThink step by step, with a blank line after each step. Put the final number in \\boxed{}."
"""Instruction for models that were not trained on these problems."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Write word problems as JSON lines, by default held-out ones of the pocket pair."
    )
    parser.add_argument("out", type=Path, help="JSONL file")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1, help="`make bench-pocket` uses 1")
    parser.add_argument(
        "--harder", action="store_true", help="five to eight steps, with an instruction about the format"
    )
    options = parser.parse_args(arguments)
    chosen = islice(problems(options.seed, "held_out", HARDER if options.harder else QUESTIONS), options.count)
    instruction = INSTRUCTION if options.harder else ""
    lines = (json.dumps({"question": problem.text + instruction, "answer": problem.answer}) for problem in chosen)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()

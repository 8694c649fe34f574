"""Show a turn on the terminal: the text of each author in its own colour, then a table."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from langchain_spec_thinking.callbacks import drive_with_callbacks
from langchain_spec_thinking.report import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from rich.console import Console

    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.report import Report
    from langchain_spec_thinking.run import Run
    from langchain_spec_thinking.turn import Author, Channel
    from langchain_spec_thinking.viewing.trace import Trace

COLOURS: dict[Author, str] = {"speculative": "cyan", "target": "bold yellow", "inserted": "magenta"}
_UNPRINTABLE = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(127, 160)]) | dict.fromkeys(
    range(0xD800, 0xE000), "\ufffd"
)
"""Leaves out characters that would control the terminal, except tabs and line breaks, and replaces half characters."""
LEGEND = ", ".join(f"[{colour}]{author}[/]" for author, colour in COLOURS.items())


def show(console: Console, model: ChatSpeculativeThinking, messages: Sequence[BaseMessage]) -> Run:
    """Stream a turn to the terminal and return the finished run."""
    run = model.new_run(messages)
    channel = None
    with closing(drive_with_callbacks(run, None)) as deltas:
        for delta in deltas:
            if run.turn.thinks and delta.channel != channel:
                console.print("" if channel is None else "\n\n", end="")
                console.print(delta.channel, style="dim")
                channel = delta.channel
            console.print(Text(_printable(delta.text), COLOURS[delta.author]), end="", soft_wrap=True)
    console.print()
    return run


def show_again(console: Console, trace: Trace) -> None:
    """Print a saved turn."""
    console.print(_printable(trace.question), style="bold", markup=False)
    channels: list[Channel] = ["thinking", "answer"]
    for channel in channels:
        kept = [(piece, text) for piece, text in trace.pieces(channel) if isinstance(piece, Segment)]
        if kept:
            console.print(f"\n{channel}", style="dim")
            console.print(
                Text.assemble(*((_printable(text), COLOURS[piece.author]) for piece, text in kept)), soft_wrap=True
            )
    for call in trace.calls:
        console.print(_printable(f"{call.name}({call.arguments})"), style="green", markup=False)


def summary(report: Report) -> str:
    """Return a line that says how much the target wrote."""
    return f"{report.takeovers} takeovers, {report.target_share:.0%} of the tokens by the large model"


def table(report: Report) -> Table:
    """Return a table that says who wrote how much, why, and how fast."""
    rows = Table(title=summary(report))
    for heading in ("author", "tokens kept", "dropped", "requests", "tokens/s", "why"):
        rows.add_column(heading, justify="left" if heading in {"author", "why"} else "right")
    for author, usage in report.usage.items():
        segments = [segment for segment in report.segments if segment.author == author]
        tokens = sum(segment.tokens for segment in segments)
        seconds = sum(segment.seconds for segment in segments)
        why = Counter(f"{s.kind} ({s.cue})" if s.cue else s.kind for s in segments)
        rows.add_row(
            f"[{COLOURS[author]}]{author}[/]",
            str(tokens),
            str(usage.discarded_tokens),
            str(usage.requests),
            f"{tokens / seconds:.1f}" if seconds else "-",
            escape(_printable(", ".join(f"{count} {kind}" for kind, count in why.most_common()))),
        )
    return rows


def _printable(text: str) -> str:
    """Return a text that a terminal can show and that does not control the terminal."""
    return text.translate(_UNPRINTABLE)

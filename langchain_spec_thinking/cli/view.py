"""Show a turn on the terminal: the text of each author in its own colour or behind its name, then tables."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from langchain_spec_thinking.callbacks import drive_with_callbacks
from langchain_spec_thinking.cli.console import printable
from langchain_spec_thinking.report import Segment
from langchain_spec_thinking.viewing.takeovers import takeovers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from rich.console import Console

    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.report import Report, Takeover
    from langchain_spec_thinking.turn import Author, Channel
    from langchain_spec_thinking.turn_runs import AnyRun
    from langchain_spec_thinking.viewing.trace import Trace

COLOURS: dict[Author, str] = {"speculative": "cyan", "target": "bold yellow", "inserted": "magenta"}
LEGEND = ", ".join(f"[{colour}]{author}[/]" for author, colour in COLOURS.items())
_SHOWN = 200
"""Maximum length of a text in a table, in characters."""


class _Printer:
    """Prints text of several authors. Without colours, `[author]` stands before each text of another author."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._marks = console.no_color or console.color_system is None
        self._author: Author | None = None
        self._last = "\n"

    def begin(self, channel: Channel) -> None:
        """Print the name of a channel."""
        self._console.print(channel, style="dim")
        self._author, self._last = None, "\n"

    def add(self, author: Author, text: str) -> None:
        """Print a text without the characters that control the terminal."""
        text = printable(text)
        if not text:  # a tool call has no text, and the author has not been named yet
            return
        if self._marks and author != self._author:
            before = "" if self._last.isspace() else " "
            after = "" if text[0].isspace() else " "
            self._console.print(f"{before}[{author}]{after}", end="", markup=False, soft_wrap=True)
        self._author, self._last = author, text[-1]
        self._console.print(Text(text, COLOURS[author]), end="", soft_wrap=True)


def show(console: Console, model: ChatSpeculativeThinking, messages: Sequence[BaseMessage]) -> AnyRun:
    """Stream a turn to the terminal and return the finished run."""
    run = model.new_run(messages)
    printer, channel = _Printer(console), None
    with closing(drive_with_callbacks(run, None)) as deltas:
        for delta in deltas:
            if run.turn.thinks and delta.channel != channel:
                console.print("" if channel is None else "\n\n", end="")
                printer.begin(delta.channel)
                channel = delta.channel
            printer.add(delta.author, delta.text)
    console.print()
    return run


def show_again(console: Console, trace: Trace) -> None:
    """Print a saved turn."""
    console.print(printable(trace.question), style="bold", markup=False)
    printer = _Printer(console)
    channels: list[Channel] = ["thinking", "answer"]
    for channel in channels:
        kept = [(piece, text) for piece, text in trace.pieces(channel) if isinstance(piece, Segment)]
        if kept:
            console.print()
            printer.begin(channel)
            for piece, text in kept:
                printer.add(piece.author, text)
            console.print()
    for call in trace.calls:
        console.print(printable(f"{call.name}({call.arguments})"), style="green", markup=False)


def summary(report: Report) -> str:
    """Return a line that says how much the target wrote, and what the turn cost if it cost anything."""
    figures = f"{report.takeovers} takeovers, {report.target_share:.0%} of the tokens by the large model"
    figures += f", cost {report.cost:.4g}" if report.cost else ""
    return f"{figures}; it took over: {report.escalated}" if report.escalated else figures


def table(report: Report) -> Table:
    """Return a table that says who wrote how much, why, and how fast. Its caption says what did not work."""
    limitations = escape(printable("\n".join(report.degraded)))
    rows = Table(
        title=escape(printable(summary(report))),
        caption=limitations or None,
        caption_style="yellow",
        caption_justify="left",
    )
    for heading in ("author", "tokens kept", "dropped", "requests", "tokens/s", "why"):
        rows.add_column(heading, justify="left" if heading in {"author", "why"} else "right")
    for author, usage in report.usage.items():
        segments = [segment for segment in report.segments if segment.author == author]
        tokens = sum(segment.tokens for segment in segments)
        seconds = sum(segment.seconds for segment in segments)
        why = Counter(map(_why, segments))
        rows.add_row(
            f"[{COLOURS[author]}]{author}[/]",
            str(tokens),
            str(usage.discarded_tokens),
            str(usage.requests),
            f"{tokens / seconds:.1f}" if seconds else "-",
            escape(printable(", ".join(f"{count} {kind}" for kind, count in why.most_common()))),
        )
    return rows


def takeovers_table(trace: Trace) -> Table:
    """Return a table of all takeovers: where in the text, why, and what the small model had written there."""
    takeovers = takeovers_of((*trace.pieces("thinking"), *trace.pieces("answer")))
    rows = Table(title=f"All takeovers ({len(takeovers)})", show_lines=True)
    for heading in ("characters", "why", "dropped draft", "text of the large model", "tokens"):
        rows.add_column(heading, justify="right" if heading == "tokens" else "left", overflow="fold")
    for one in takeovers:
        texts = (f"{one.channel} {one.start} to {one.end}", _why(one), one.draft, one.text, str(one.tokens))
        rows.add_row(*(Text(_shortened(printable(text))) for text in texts))
    return rows


def _why(text: Segment | Takeover) -> str:
    return f"{text.kind} ({text.cue})" if text.cue else text.kind


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

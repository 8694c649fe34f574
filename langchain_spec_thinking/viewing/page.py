"""Display of a finished turn as HTML: figures, a timeline, and the text with one colour for each author.

Dropped text appears on hover or focus. The page contains no scripts and loads no other files. Everything in a saved
turn is escaped, because the file may come from anybody.
"""

from __future__ import annotations

import hashlib
from html import escape
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

from langchain_spec_thinking.report import Segment
from langchain_spec_thinking.viewing.takeovers import takeovers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_spec_thinking.report import Dropped, Report, Takeover
    from langchain_spec_thinking.tools import ToolCall
    from langchain_spec_thinking.turn import Author, Channel

_LEGEND: dict[Author, str] = {
    "speculative": "the small model",
    "target": "the large model",
    "inserted": "inserted by the policy",
}
_LANES: dict[Author, tuple[int, int]] = {"speculative": (4, 24), "target": (34, 24), "inserted": (0, 62)}
"""Top and height of each author's bars, in pixels. Inserted text takes no time, so its bar is a thin mark."""
_AXIS, _HEIGHT = 66, 86
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""Possible distances between the ticks of the timeline, in seconds."""
_TICKS_MAX = 6
"""Largest number of labels that fit side by side on the screen of a phone."""


class FinishedTurn(Protocol):
    """The interface of a turn that a page can show. `Trace` implements it."""

    @property
    def thinking(self) -> str:
        """Return the whole thought."""

    @property
    def answer(self) -> str:
        """Return the whole answer."""

    @property
    def report(self) -> Report:
        """Return the report: who wrote which part and why, and the usage of each model."""

    @property
    def question(self) -> str:
        """Return the last message of the conversation."""

    @property
    def model_name(self) -> str:
        """Return the names of both models."""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Return the tool calls."""

    def pieces(self, channel: Channel) -> list[tuple[Segment | Dropped, str]]:
        """Return the segments and dropped drafts of a channel with their texts, in the order of the text."""


def page(trace: FinishedTurn) -> str:
    """Return a turn as a whole HTML document."""
    title = _escaped(_shortened(trace.question, 80) or "A run")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    body = f'<body class="spec-thinking-page">{fragment(trace)}</body>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<title>{title}</title></head>\n{body}</html>\n'


def fragment(trace: FinishedTurn) -> str:
    """Return a turn as a part of an HTML page, for example of a notebook.

    Some hosts remove the styles, for example GitHub. The text is readable without them.
    """
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    name = f"run-{hashlib.sha256(f'{trace.thinking}{trace.answer}'.encode(errors='replace')).hexdigest()[:8]}"
    parts = [_head(trace), _figures(trace.report), _timeline(trace, name), _text(trace, name)]
    parts += [_takeovers(trace), _usage(trace.report)]
    return f'<style>{style}</style>\n<article class="spec-thinking">\n{"".join(parts)}</article>\n'


def _head(trace: FinishedTurn) -> str:
    question = f"<h1>{_escaped(trace.question)}</h1>\n" if trace.question else ""
    reasons = trace.report.degraded
    warnings = "".join(
        f'<p class="spec-degraded"><strong>Limitations in this run:</strong> {_escaped(words)}</p>\n'
        for words in reasons
    )
    models = " + ".join(_name(model) for model in trace.model_name.split(" + "))
    reason = trace.report.escalated
    escalated = f'<p class="spec-escalated">The large model took over: {_escaped(reason)}</p>\n' if reason else ""
    return f'<header>\n{question}<p class="spec-models">{_escaped(models)}</p>\n{escalated}{warnings}</header>\n'


def _figures(report: Report) -> str:
    figures = {
        "takeovers": f"{report.takeovers}",
        "share of tokens by the large model": f"{report.target_share:.0%}",
        "tokens kept": f"{report.completion_tokens}",
        "seconds": f"{_seconds(report.segments):.1f}",
    }
    if report.cost is not None:
        figures["cost"] = f"{report.cost:.4g}"
    tiles = "".join(f"<li><b>{_escaped(figure)}</b> <span>{what}</span></li>" for what, figure in figures.items())
    return f'<ul class="spec-figures">{tiles}</ul>\n'


# -- timeline


def _timeline(trace: FinishedTurn, name: str) -> str:
    whole = _seconds(trace.report.segments) or 1.0
    numbers = {id(segment): number for number, segment in enumerate(trace.report.segments)}
    bars, crosses, now = [], [], 0.0
    for piece, text in (*trace.pieces("thinking"), *trace.pieces("answer")):
        left = 100 * now / whole
        if isinstance(piece, Segment):
            bar = _bar(piece, text, left, 100 * piece.seconds / whole)
            bars.append(f'<a href="#{name}-{numbers[id(piece)]}">{bar}</a>')
            now += piece.seconds
        else:
            crosses.append(_cross(piece, left))
    lanes = "".join(
        f'<text class="spec-lane" x="0" y="{_LANES[author][0] + 16}">{author}</text>'
        for author in ("speculative", "target")
    )
    return (
        f'<section aria-label="Timeline">\n<h2>Timeline</h2>\n'
        f'<svg class="spec-names" width="84" height="{_HEIGHT}">{lanes}</svg>'
        f'<svg class="spec-timeline" height="{_HEIGHT}" role="group" aria-label="Who wrote when">'
        f'{_axis(whole)}{"".join([*bars, *crosses])}</svg>\n<p class="spec-note">Seconds spent on the final text. '
        "&times; marks a dropped draft. Click a bar to go to its text.</p>\n</section>\n"
    )


def _axis(whole: float) -> str:
    step = next((step for step in _TICKS if whole / step <= _TICKS_MAX), whole / _TICKS_MAX)
    ticks = [number * step for number in range(int(whole / step) + 1)]
    return "".join(
        f'<line class="spec-tick" x1="{100 * tick / whole:.3f}%" x2="{100 * tick / whole:.3f}%" y1="0" y2="{_AXIS}"/>'
        f'<text class="spec-tick" x="{100 * tick / whole:.3f}%" y="{_AXIS + 14}">{tick:g} s</text>'
        for tick in ticks
    )


def _bar(segment: Segment, text: str, left: float, width: float) -> str:
    top, height = _LANES.get(segment.author, _LANES["inserted"])
    width = max(width, 0.4)
    return (
        f'<rect class="spec-{_escaped(segment.author)}" x="{left:.3f}%" width="{width:.3f}%" y="{top}" '
        f'height="{height}" rx="3"><title>{_escaped(f"{_label(segment)}: {_shortened(text, 120)}")}</title></rect>'
    )


def _cross(dropped: Dropped, left: float) -> str:
    description = f"dropped, {dropped.author}: {_shortened(dropped.text, 120)}"
    top = _LANES.get(dropped.author, _LANES["inserted"])[0] + 17
    return f'<text class="spec-cross" x="{left:.3f}%" y="{top}">&times;<title>{_escaped(description)}</title></text>'


# -- text


def _text(trace: FinishedTurn, name: str) -> str:
    legend = "".join(f'<li><span class="spec-{author}">{author}</span>: {who}</li>' for author, who in _LEGEND.items())
    legend += '<li><span class="spec-dropped">&times;</span>: a dropped draft; point at it, or use Tab, to read it</li>'
    numbers = {id(segment): f"{name}-{number}" for number, segment in enumerate(trace.report.segments)}
    channels: list[tuple[Channel, str]] = [("thinking", "Thought"), ("answer", "Answer")]
    sections = [
        f'<h2>{title}</h2>\n<pre class="spec-text">{_pieces(trace.pieces(channel), numbers)}</pre>\n'
        for channel, title in channels
        if trace.pieces(channel)
    ]
    calls = "".join(f"<li><code>{_escaped(f'{call.name}({call.arguments})')}</code></li>" for call in trace.calls)
    return f'<ul class="spec-legend">{legend}</ul>\n{"".join(sections)}{f"<ul>{calls}</ul>" if calls else ""}'


def _pieces(pieces: Iterable[tuple[Segment | Dropped, str]], names: dict[int, str]) -> str:
    shown = []
    for piece, text in pieces:
        if isinstance(piece, Segment):
            reason = (
                f'<small class="spec-reason"> {_escaped(_reason(piece))} </small>'
                if piece.kind not in {"draft", "answer"}
                else ""
            )
            label = _escaped(_label(piece))
            shown.append(
                f'<span class="spec-{_escaped(piece.author)}" id="{names[id(piece)]}" title="{label}">'
                f"{reason}{_escaped(text)}</span>"
            )
        else:
            label = _escaped(f"dropped, {piece.author}, {_tokens(piece.tokens)}")
            tip = f'<span class="spec-tip" role="note"><small>{label}: </small>{_escaped(text)}</span>'
            shown.append(f'<span class="spec-dropped" tabindex="0">&times;{tip}</span>')
    return "".join(shown)


# -- tables


def _takeovers(trace: FinishedTurn) -> str:
    rows = [
        (_reason(takeover), takeover.draft, takeover.text, str(takeover.tokens), f"{takeover.seconds:.2f}")
        for takeover in takeovers_of((*trace.pieces("thinking"), *trace.pieces("answer")))
    ]
    if not rows:
        return ""
    table = _table(("reason", "dropped draft", "text of the large model", "tokens", "seconds"), rows, numbers=2)
    return f"<details>\n<summary>All takeovers ({len(rows)})</summary>\n{table}</details>\n"


def _usage(report: Report) -> str:
    rows = []
    for author, usage in report.usage.items():
        segments = [segment for segment in report.segments if segment.author == author]
        tokens, seconds = sum(segment.tokens for segment in segments), _seconds(segments)
        counts = (tokens, usage.discarded_tokens, usage.requests, usage.prompt_tokens, usage.cached_tokens)
        speed = f"{tokens / seconds:.0f}" if seconds else "-"
        cost = report.costs[author]
        figures = (f"{seconds:.1f}", speed, "-" if cost is None else f"{cost:.4g}")
        rows.append((author, *(str(count) for count in counts), *figures))
    heads = (
        "author",
        "tokens kept",
        "dropped",
        "requests",
        "prompt tokens",
        "cached prompt tokens",
        "seconds",
        "tokens/s",
        "cost",
    )
    return f"<h2>Usage</h2>\n{_table(heads, rows, numbers=8)}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """Return an HTML table whose last `numbers` columns are figures."""
    text_columns = len(heads) - numbers

    def row(cells: Sequence[str], tag: str) -> str:
        classes = ["" if column < text_columns else ' class="spec-number"' for column in range(len(cells))]
        return "".join(f"<{tag}{kind}>{_escaped(cell)}</{tag}>" for kind, cell in zip(classes, cells, strict=True))

    body = "".join(f"<tr>{row(cells, 'td')}</tr>\n" for cells in rows)
    return f'<div class="spec-scroll"><table>\n<tr>{row(heads, "th")}</tr>\n{body}</table></div>\n'


# -- descriptions


def _escaped(text: str) -> str:
    """Return a text for use between tags or in a quoted attribute."""
    return escape(text.encode(errors="replace").decode(), quote=True)


def _reason(text: Segment | Takeover) -> str:
    kind = text.kind.replace("_", " ")
    return f"{kind}: {text.cue}" if text.cue else kind


def _label(segment: Segment) -> str:
    if segment.author == "inserted":
        return f"inserted, {_reason(segment)}"
    return f"{segment.author}, {_reason(segment)}, {_tokens(segment.tokens)}, {segment.seconds:.2f} s"


def _tokens(count: int) -> str:
    return f"{count} token" if count == 1 else f"{count} tokens"


def _name(model: str) -> str:
    """Return the name of a model. For a path, return only the name of the folder, since the rest of it is private."""
    path = PurePath(model)
    return path.name if path.is_absolute() else model


def _shortened(text: str, characters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _seconds(segments: Iterable[Segment]) -> float:
    return sum(segment.seconds for segment in segments)

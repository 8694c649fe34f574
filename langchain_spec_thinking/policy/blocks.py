r"""Follows the blocks of a text in which a blank line does not end a step: code, formulas, tables in markup, and JSON.

Theory of operation
===================

The text is examined in parts: a part is a line, or the next `_PART_MAX` characters of a long line. The parts of a text
do not depend on how it arrives, so neither does the result, and each character is examined a fixed number of times.

At most one block is open. A mark opens it, and what is inside it is not examined for other blocks:

| opened by | closed by |
|---|---|
| three or more backticks, or tildes at the start of a line | at least as many of the same, without a language |
| `$$` | `$$` |
| `\[` | `\]` |
| `\begin{name}` | the `\end{name}` that belongs to it |
| `<table` | `</table` |
| a line that begins as JSON, leaves a bracket open, and ends with `{`, `[`, `,` or `:` | the closing bracket |

Prose mentions marks too. So backticks, `$$` and `\[` open a block only in three places: at the start of a line (after
marks of lists and quotations), after a colon, or after white space if code or a formula follows directly. No mark
between single backticks opens or closes a block. A table of Markdown is no block: a blank line ends it.

A model may forget to close a block. After `BLOCK_MAX` characters the block is forgotten, and boundaries count again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

BLOCK_MAX = 4_000
"""How long blank lines inside a block are no boundaries, in characters from the beginning of the block.

About 100 lines of code. After that the block counts as one that its author forgot to close.
"""
_PART_MAX = 1_000
"""The maximum length of the text that is examined at once, in characters."""
_MARK = re.compile(
    r"(?<!`)`[^`\n]+`(?!`)|\\\\"
    r"|(?:(?P<lead>[:：])[ \t]*)?(?:(?P<fence>`{3,}|(?<!.)~{3,})(?P<language>[a-z])?|(?P<math>\$\$|\\[][]))"  # noqa: RUF001 - Chinese
    r"|\\(?P<edge>begin|end)\{(?P<name>[a-z]{1,20}\*?)\}"
    r"|(?P<table></?table\b)",
    re.IGNORECASE,
)
r"""A mark that may open or close a block, or what is no mark: code in a line, and `\\`, a line break in a formula."""
_LINE_HEAD = re.compile(r"(?:[ \t>]|[-*+][ \t]|[0-9]{1,9}[.)][ \t])*")
"""White space, and marks of lists and quotations."""
_JSON_BEGINS = re.compile(r"""[ \t]*[{\[]\s*(?:$|["'0-9{\[-])""")
_BRACKET = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|$)|[\[\]{}]', re.DOTALL)
"""A string of JSON, which may be incomplete, or a bracket outside strings."""
_JSON: Final = "JSON"
_CLOSED_BY: Final = {"$$": "$$", "\\[": "\\]", "<table": "</table"}
"""The mark that closes a block, by the mark that opens it. Fences and environments are closed by their like."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A block that is open.

    Attributes:
        closed_by: What closes it: a mark, the name of an environment, or `JSON`.
        start: Where it begins, in characters of the text.
        depth: How many environments of that name, or brackets of JSON, are open.
    """

    closed_by: str
    start: int
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Blocks:
    """The block that is open at the end of a text, if one is.

    Attributes:
        block: The block that is open at the end of the whole parts. None: there is none.
        length: How long the whole parts are together, in characters.
        line: The end of the text that is not a whole part yet.
        at_line_start: Whether `line` is the beginning of a line.
    """

    block: _Block | None = None
    length: int = 0
    line: str = ""
    at_line_start: bool = True

    @property
    def is_open(self) -> bool:
        """Whether a delimiter at the end of the text is inside a block."""
        return self.block is not None and not _is_forgotten(self.block, self.length + len(self.line))

    def after(self, text: str) -> Blocks:
        """Return the block that is open after more text."""
        block, length, at_line_start = self.block, self.length, self.at_line_start
        line, start = self.line + text, 0
        while (end := _part_end(line, start)) is not None:
            part = line[start:end]
            block = _after_part(block, part, length, at_line_start=at_line_start)
            start, length, at_line_start = end, length + len(part), part.endswith("\n")
            if block and _is_forgotten(block, length):
                block = None
        return Blocks(block, length, line[start:], at_line_start)


def _is_forgotten(block: _Block, length: int) -> bool:
    """Return whether a block began so long before the end of a text that its author must have forgotten it."""
    return length - block.start > BLOCK_MAX


def _part_end(line: str, start: int) -> int | None:
    """Return where the part of a text that begins at `start` ends, in characters; None if it may continue."""
    newline = line.find("\n", start, start + _PART_MAX)
    if newline >= 0:
        return newline + 1
    return start + _PART_MAX if len(line) - start >= _PART_MAX else None


def _after_part(block: _Block | None, part: str, position: int, *, at_line_start: bool) -> _Block | None:
    """Return the block that is open after a part.

    Args:
        block: The block that is open before the part.
        part: The part.
        position: Where the part begins, in characters of the text.
        at_line_start: Whether the part is the beginning of a line.
    """
    start = 0
    begins = block is None and at_line_start and part.rstrip()[-1:] in tuple("{[,:") and _JSON_BEGINS.match(part)
    if begins or (block and block.closed_by == _JSON):
        json, closed_at = _after_brackets(block or _Block(_JSON, position, 0), part)
        if json:
            return json
        start, block = 0 if begins else closed_at, None
    head = _line_head(part) if at_line_start else -1
    for mark in _MARK.finditer(part, start):
        block = _after_mark(block, mark, position, opens=_opens(mark, head))
    return block


def _after_brackets(block: _Block, part: str) -> tuple[_Block | None, int]:
    """Count the brackets of JSON in a part, and return the block, or None and where it is closed, in characters."""
    depth = block.depth
    for found in _BRACKET.finditer(part):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(found.group(), 0)
        if depth <= 0 and len(found.group()) == 1:
            return None, found.end()
    return replace(block, depth=depth), len(part)


def _line_head(part: str) -> int:
    """Return how long the white space and the marks of lists and quotations at the start of a line are."""
    head = _LINE_HEAD.match(part)
    return head.end() if head else 0


def _opens(mark: re.Match[str], head: int) -> bool:
    r"""Return whether backticks, `$$` or `\[` stand where they open a block, and not where prose mentions them.

    Args:
        mark: The mark.
        head: How long the head of the line is. Below 0: the part is not the beginning of a line.
    """
    start, end = mark.span("fence" if mark["fence"] else "math")
    if start <= head or mark["lead"]:
        return True
    before, after = mark.string[start - 1 : start], mark.string[end : end + 1]
    return before.isspace() and after not in tuple(" \t.,;:!?)")


def _after_mark(block: _Block | None, mark: re.Match[str], position: int, *, opens: bool) -> _Block | None:
    r"""Return the block that is open after a mark.

    Args:
        block: The block that is open before the mark.
        mark: The mark.
        position: Where the part of the mark begins, in characters of the text.
        opens: Whether the mark stands where backticks, `$$` and `\[` open a block.
    """
    start = position + mark.start()
    if fence := mark["fence"]:
        if block is None:
            return _Block(fence, start) if opens else None
        closes = not mark["language"] and fence.startswith(block.closed_by) and block.closed_by[0] in "`~"
        return None if closes else block
    if name := mark["name"]:
        return _after_edge(block, name, start, begins=mark["edge"].lower() == "begin")
    found = (mark["math"] or mark["table"] or "").lower()
    if block is None:
        may_open = found in _CLOSED_BY and (opens or not mark["math"])
        return _Block(_CLOSED_BY[found], start) if may_open else None
    return None if found == block.closed_by else block


def _after_edge(block: _Block | None, name: str, start: int, *, begins: bool) -> _Block | None:
    """Return the block that is open after the beginning or the end of an environment of LaTeX."""
    if block is None:
        return _Block(name, start) if begins else None
    if block.closed_by != name:
        return block
    depth = block.depth + (1 if begins else -1)
    return replace(block, depth=depth) if depth > 0 else None

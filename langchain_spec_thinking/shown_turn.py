"""The turn that the user sees, if it is put together from the turns of two attempts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from langchain_spec_thinking.turn import CLOSING
from langchain_spec_thinking.turn_events import Delta

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Turn

SEPARATOR: Final = "\n\n"
"""What stands between the thoughts of two attempts."""


@dataclass
class ShownTurn:
    """Appends the texts of attempts to one turn, in the order in which they are shown.

    Attributes:
        turn: The turn that the user sees.
        separator_at: Where the separator between two thoughts is, in characters of the thought. None: there is none.
    """

    turn: Turn
    separator_at: int | None = None
    _blocks: dict[tuple[int, int], int] = field(default_factory=dict)
    _last: tuple[int, int] | None = None
    _thoughts: int | None = None  # the attempt that wrote the last text of the thought

    def show(self, delta: Delta, source: Turn, *, attempt: int, separate: bool = False) -> list[Delta]:
        """Append text of an attempt, and return what to show: the same text, with the numbers of this turn's blocks.

        Args:
            delta: The text.
            source: The turn of the attempt.
            attempt: Number of the attempt.
            separate: Whether a separator stands between the thought of this attempt and an earlier thought.
        """
        shown: list[Delta] = []
        self.turn.thinks = self.turn.thinks or source.thinks
        if delta.channel == "thinking":
            if separate and self._thoughts not in {None, attempt} and not self.turn.thinking.endswith(SEPARATOR):
                self.separator_at = len(self.turn.thinking)
                shown.append(
                    self._append(Delta("inserted", "thinking", "escalation", SEPARATOR, 0, first=True), (-1, 0))
                )
            self._thoughts = attempt
        elif self.turn.thinks and not self.turn.closing:
            self.turn.closing = source.closing or CLOSING
        return [*shown, self._append(delta, (attempt, delta.block))]

    def _append(self, delta: Delta, source: tuple[int, int]) -> Delta:
        """Append text. `source` is the attempt and the block of the text within it."""
        if delta.call:
            self.turn.calls.append(delta.call)
        elif delta.text:
            self.turn.append(delta.author, delta.text)
        first, self._last = source != self._last, source
        block = self._blocks.setdefault(source, len(self._blocks))
        kind = "escalation" if delta.kind == "lead" else delta.kind
        return replace(delta, kind=kind, block=block, first=first)

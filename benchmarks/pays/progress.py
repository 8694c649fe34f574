"""How the parts of the benchmark say how far they are."""

from __future__ import annotations

from collections.abc import Callable

OnTurn = Callable[[str, int], object]
"""Called after each turn, or after some turns, with the name of the run and the number of turns."""

"""Checks that decide whether an answer is right."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.evaluation.user_code import import_object
from langchain_spec_thinking.installing import require_modules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_spec_thinking.evaluation.questions import Question

Check = Callable[[str, str], bool]
"""Takes a model's answer and the right answer. Returns whether the model's answer is right."""

_BOX = "\\boxed{"
_CHECK_SECONDS = 5


def check_of(spec: str) -> Check:
    """Return the check that a text names.

    Args:
        spec: `math`, `exact` or `module:function`. `math` uses math-verify to compare numbers, fractions and formulas.
            It reads the box, or the last value in the text. `exact` compares the box, or the whole text if there is no
            box. It ignores case and differences in white space. `module:function` is your own function of the answer
            and the right answer. Its module may be in the working directory.

    Raises:
        ValueError: The check does not exist.
        ImportError: A package that the check needs is not installed.
    """
    if spec == "math":
        _math_verify()
        return math
    if spec == "exact":
        return exact
    if not spec.partition(":")[2]:
        msg = f"{spec}: expected math, exact or module:function"
        raise ValueError(msg)
    found = import_object(spec)
    if not callable(found):
        msg = f"{spec}: expected a function of the answer and the right answer, got {found!r}"
        raise ValueError(msg)  # noqa: TRY004 - one error type for every bad check
    return found  # type: ignore[no-any-return]


def math(answer: str, right: str) -> bool:
    """Compare answers by value: 0.5 equals one half."""
    library, limit = _math_verify(), _limit()
    found = library.parse(answer, parsing_timeout=limit)
    return bool(library.verify(_gold(right), found, timeout_seconds=limit))


def exact(answer: str, right: str) -> bool:
    """Compare answers as text. Ignore case and differences in white space."""
    return _plain(_boxed(answer) or answer) == _plain(right)


def require_checkable(questions: Iterable[Question], check: Check) -> None:
    """Refuse right answers that `math` cannot read, because every answer would count as wrong.

    Raises:
        ValueError: A right answer cannot be read. The message shows it.
    """
    if check is not math:
        return
    for question in questions:
        if not _gold(question.answer):
            msg = f"math-verify cannot read the answer {question.answer!r} (to {question.question[:60]!r}): use exact"
            raise ValueError(msg)


def _gold(right: str) -> list[Any]:
    text = right if _BOX in right else f"{_BOX}{right}}}"
    return list(_math_verify().parse(text, parsing_timeout=_limit()))


def _limit() -> int:
    """Return math-verify's time limit in seconds, or 0 for none. It needs signals, which only the main thread gets."""
    return _CHECK_SECONDS if threading.current_thread() is threading.main_thread() else 0


def _boxed(text: str) -> str | None:
    """Return the content of the last box, including nested braces."""
    start = text.rfind(_BOX)
    if start < 0:
        return None
    depth, begin = 1, start + len(_BOX)
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin:at]
    return None


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def _math_verify() -> Any:  # noqa: ANN401 - the module has no annotations
    require_modules("The check math", "evaluate", "math_verify")
    import math_verify  # noqa: PLC0415 - an optional extra

    return math_verify

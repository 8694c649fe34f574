"""What to install. Every message that asks for an extra of this package gets its command here."""

from __future__ import annotations

from importlib.util import find_spec

ON_INDEX = False
"""Whether this package is on the Python Package Index. Set it to True on the day it is published there.

Until then, a command with the name of the package would fail, or install what somebody else uploads under this name.
docs/installing.md has the same commands for readers.
"""


def install_hint(extra: str, *, on_index: bool = ON_INDEX) -> str:
    """Return the commands that install an extra.

    Args:
        extra: Name of the extra, without brackets.
        on_index: Whether the package index has the package.
    """
    if on_index:
        return f"`pip install 'langchain-spec-thinking[{extra}]'`"
    return f"`pip install '.[{extra}]'` in a clone, or `pip install 'FILE.whl[{extra}]'` with a wheel"


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that would contain the module
        return False


def require_modules(what: str, extra: str, *names: str) -> None:
    """Check that modules of an extra are installed, without importing them.

    Args:
        what: What needs them, at the start of a sentence.
        extra: The extra that installs them.
        *names: The modules.

    Raises:
        ImportError: A module is not installed. The message says what installs it.
    """
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        msg = f"{what} needs {' and '.join(missing)}. Install the extra [{extra}]: {install_hint(extra)}."
        raise ImportError(msg)

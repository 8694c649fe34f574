"""Objects of the user that a command line names by module and name."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def import_object(spec: str) -> Any:  # noqa: ANN401 - any object of the user
    """Import the module of an object and return the object. The module may be in the working directory.

    Args:
        spec: `module:name`.

    Raises:
        ValueError: The module cannot be imported, does not contain the name, or contains a trigger that
            `register_trigger` refuses.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module, _, name = spec.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as e:
        msg = f"{spec}: {e}"
        raise ValueError(msg) from e

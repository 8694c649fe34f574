"""Objects of the user's own modules, which a command line names as `module:name`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


def import_object(spec: str) -> Any:  # noqa: ANN401 - any object of a module
    """Return the object that a text names. This runs the code of its module.

    Args:
        spec: `module:name`. The module may be in the working directory.

    Raises:
        ValueError: The module cannot be imported, or it does not contain the name.
    """
    module, _, name = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as e:
        msg = f"{spec}: {e}"
        raise ValueError(msg) from e

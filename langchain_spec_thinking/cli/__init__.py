"""The command `spec-thinking`."""

from __future__ import annotations

import sys

from langchain_spec_thinking.installing import install_hint


def main() -> None:
    """Run the command. Exit with a message if the extra `[cli]` is not installed."""
    try:
        from langchain_spec_thinking.cli.commands import app  # noqa: PLC0415 - an optional extra
    except ImportError as e:
        sys.exit(f"spec-thinking needs the extra [cli]: {install_hint('cli')} ({e})")
    app()

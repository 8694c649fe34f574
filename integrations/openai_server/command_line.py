"""The command line of the server, in one process or in several replicas."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError

KEY = "SPEC_THINKING_API_KEY"
"""Environment variable with the key that clients send."""


def server_parser(description: str | None) -> ArgumentParser:
    """Return a parser with the options of the server."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--speculative", help="the small model, such as huggingface:ID or openai:NAME@URL#TOKENIZER")
    parser.add_argument("--target", help="the large model")
    parser.add_argument("--max-tokens", type=int, default=4096, help="maximum length of a reply, in tokens")
    parser.add_argument(
        "--reply-seconds",
        type=_seconds,
        default=600.0,
        help="maximum time of a reply, in seconds; more for slow models",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        msg = f"expected a positive number of seconds, got {text}"
        raise ArgumentTypeError(msg)
    return seconds


def require_key(parser: ArgumentParser) -> str:
    """Return the key that clients send. If it is not set, end the program with a message."""
    return os.environ.get(KEY) or parser.error(f"set {KEY} to the key that clients send")

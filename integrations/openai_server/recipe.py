"""An OpenAI-compatible endpoint for a small and a large model."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from integrations.openai_server.server import Limits, create_app
from langchain_spec_thinking import ChatSpeculativeThinking

if TYPE_CHECKING:
    from fastapi import FastAPI


def build(
    speculative: str | None = None, target: str | None = None, *, api_key: str, max_tokens: int = 4096
) -> FastAPI:
    """Make the application. If no models are given, it uses the pair that comes with the package."""
    if speculative is None or target is None:
        model = ChatSpeculativeThinking.pocket()
    else:
        model = ChatSpeculativeThinking(speculative=speculative, target=target)
    return create_app(model, [api_key], limits=Limits(tokens=max_tokens))


def main() -> None:
    """Run the server until it is interrupted."""
    import uvicorn  # noqa: PLC0415 - needed only here

    parser = ArgumentParser(description=build.__doc__)
    parser.add_argument("--speculative", help="the small model, such as huggingface:ID or openai:NAME@URL#TOKENIZER")
    parser.add_argument("--target", help="the large model")
    parser.add_argument("--max-tokens", type=int, default=4096, help="most tokens of a reply")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    key = os.environ.get("SPEC_THINKING_API_KEY") or parser.error(
        "set SPEC_THINKING_API_KEY to the key that clients send"
    )
    app = build(options.speculative, options.target, api_key=key, max_tokens=options.max_tokens)
    uvicorn.run(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()

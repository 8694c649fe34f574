"""The OpenAI-compatible server with limits of your own, for any ASGI server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.cli.serve import client_key
from langchain_spec_thinking.serving.app import create_app
from langchain_spec_thinking.serving.limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI


def build(
    speculative: str | None = None, target: str | None = None, *, api_key: str, limits: Limits | None = None
) -> FastAPI:
    """Make the application. If no models are given, it uses the pair that comes with the package."""
    if speculative and target:
        model = ChatSpeculativeThinking(speculative=speculative, target=target)
    elif speculative or target:
        msg = "name both models, or neither for the pocket pair"
        raise ValueError(msg)
    else:
        model = ChatSpeculativeThinking.pocket()
    return create_app(model, [api_key], limits=limits)


def main() -> None:
    """Run the server until it is interrupted."""
    from langchain_spec_thinking.serving.connections import serve  # noqa: PLC0415 - other servers do not need uvicorn

    limits = Limits(running=2, waiting=4, messages=100)
    serve(build(api_key=client_key(), limits=limits), host="127.0.0.1", port=8080)


if __name__ == "__main__":
    main()

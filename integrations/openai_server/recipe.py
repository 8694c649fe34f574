"""An OpenAI-compatible endpoint for a small and a large model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integrations.openai_server.command_line import require_key, server_parser
from integrations.openai_server.limits import Limits
from integrations.openai_server.server import create_app
from langchain_spec_thinking import ChatSpeculativeThinking

if TYPE_CHECKING:
    from fastapi import FastAPI


def build(
    speculative: str | None = None, target: str | None = None, *, api_key: str, limits: Limits | None = None
) -> FastAPI:
    """Make the application. If no models are given, it uses the pair that comes with the package."""
    if speculative is None or target is None:
        model = ChatSpeculativeThinking.pocket()
    else:
        model = ChatSpeculativeThinking(speculative=speculative, target=target)
    return create_app(model, [api_key], limits=limits)


def main() -> None:
    """Run the server until it is interrupted."""
    from integrations.openai_server.connections import serve  # noqa: PLC0415 - other servers do not need uvicorn

    parser = server_parser(build.__doc__)
    options = parser.parse_args()
    limits = Limits(tokens=options.max_tokens, reply_seconds=options.reply_seconds)
    app = build(options.speculative, options.target, api_key=require_key(parser), limits=limits)
    serve(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()

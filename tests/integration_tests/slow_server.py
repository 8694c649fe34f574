"""The OpenAI-compatible server with short limits, before a model that never ends. `test_slow_clients.py` runs it."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Backend, End, Event, Piece, Request
from langchain_spec_thinking.cli.serve import client_key
from langchain_spec_thinking.serving.app import create_app
from langchain_spec_thinking.serving.connections import serve
from langchain_spec_thinking.serving.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from langchain_spec_thinking.turn import Turn

LIMITS = Limits(running=2, client_seconds=1.0, wait_seconds=1.0, reply_seconds=60.0, shutdown_seconds=1)


class Words(Backend):
    """A model that answers shortly, writes without end, or waits without end, as its user asks."""

    name = "words"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Not used."""
        raise NotImplementedError

    async def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        """Write what the user asks for."""
        yield Piece("word ")
        match turn.history[-1].content:
            case "write":
                while True:
                    yield Piece("word " * 2000, 0)
                    await asyncio.sleep(0)
            case "wait":
                await asyncio.Event().wait()
        yield End("stop")


def main() -> None:
    """Run the server until it is interrupted."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    model = ChatSpeculativeThinking(speculative=Words(), target=Words())
    app = create_app(model, [client_key()], limits=LIMITS)
    serve(app, host=options.host, port=options.port)


if __name__ == "__main__":
    main()

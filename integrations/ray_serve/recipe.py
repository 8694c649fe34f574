"""The OpenAI-compatible server on Ray Serve, in several replicas."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RUNNING = 8
"""Replies that a replica writes at the same time; Ray sends others to replicas that are idle."""


def build(
    speculative: str | None = None,
    target: str | None = None,
    replicas: int = 2,
    max_tokens: int = 4096,
    **resources: Any,
) -> serve.Application:
    """Make the application; without models, of the pair that comes with the package.

    Args:
        speculative: The small model, by its name.
        target: The large model.
        replicas: Copies of the pair, each in a process of its own.
        max_tokens: The most that a reply may have.
        **resources: Of each replica: `num_cpus`, `num_gpus`.
    """

    def replica() -> ASGIApp:
        from integrations.openai_server.recipe import build as build_server  # noqa: PLC0415 - in the replica's process

        key = os.environ["SPEC_THINKING_API_KEY"]  # of the cluster's environment: it is no part of the application
        app = build_server(speculative, target, api_key=key, max_tokens=max_tokens)
        return _signed(app, serve.get_replica_context().replica_tag)

    deployment = serve.deployment(
        serve.ingress(replica)(),
        name="pair",
        num_replicas=replicas,
        max_ongoing_requests=RUNNING,
        ray_actor_options={"num_cpus": 1, **resources},
    )
    return deployment.bind()


def _signed(app: ASGIApp, replica: str) -> ASGIApp:
    """Let responses tell which replica they come from."""

    async def signed(scope: Scope, receive: Receive, send: Send) -> None:
        async def sign(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-replica", replica.encode())]
            await send(message)

        await app(scope, receive, sign)

    return signed


def main() -> None:
    """Serve until interrupted."""
    parser = ArgumentParser(description=build.__doc__)
    parser.add_argument("--speculative", help="the small model, such as huggingface:ID or openai:NAME@URL#TOKENIZER")
    parser.add_argument("--target", help="the large model")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=4096, help="the most that a reply may have")
    parser.add_argument("--num-gpus", type=float, default=0, help="of each replica, where its models are local")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    if not os.environ.get("SPEC_THINKING_API_KEY"):
        parser.error("set SPEC_THINKING_API_KEY to the key that clients send")
    serve.start(http_options={"host": given.host, "port": given.port})
    app = build(given.speculative, given.target, given.replicas, given.max_tokens, num_gpus=given.num_gpus)
    serve.run(app, blocking=True)


if __name__ == "__main__":
    main()

"""The OpenAI-compatible server on Ray Serve, in several replicas."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ray import serve

from integrations.openai_server.command_line import KEY, require_key, server_parser

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RUNNING = 8
"""Number of replies that a replica writes at the same time. Ray sends other requests to replicas that write fewer."""


def build(
    speculative: str | None = None,
    target: str | None = None,
    replicas: int = 2,
    max_tokens: int = 4096,
    reply_seconds: float = 600.0,
    **resources: Any,
) -> serve.Application:
    """Make the application. If no models are given, it uses the pair that comes with the package.

    Args:
        speculative: Name of the small model.
        target: Name of the large model.
        replicas: Number of copies of the pair. Each copy has its own process.
        max_tokens: Maximum length of a reply, in tokens.
        reply_seconds: Maximum time of a reply, in seconds.
        **resources: Resources of each replica: `num_cpus`, `num_gpus`.
    """

    def replica() -> ASGIApp:
        from integrations.openai_server.limits import Limits  # noqa: PLC0415 - only the replica's process needs it
        from integrations.openai_server.recipe import build as build_server  # noqa: PLC0415 - as above

        # The key comes from the environment of the cluster, so that the application does not contain it.
        key = os.environ[KEY]
        limits = Limits(tokens=max_tokens, reply_seconds=reply_seconds)
        app = build_server(speculative, target, api_key=key, limits=limits)
        return _with_replica_header(app, serve.get_replica_context().replica_tag)

    deployment = serve.deployment(
        serve.ingress(replica)(),
        name="pair",
        num_replicas=replicas,
        max_ongoing_requests=RUNNING,
        ray_actor_options={"num_cpus": 1, **resources},
    )
    return deployment.bind()


def _with_replica_header(app: ASGIApp, replica: str) -> ASGIApp:
    """Add the name of the replica to the headers of each response."""

    async def with_header(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-replica", replica.encode())]
            await send(message)

        await app(scope, receive, send_with_header)

    return with_header


def main() -> None:
    """Run the server until it is interrupted."""
    parser = server_parser(build.__doc__)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--num-gpus", type=float, default=0, help="GPUs of each replica, if its models are local")
    given = parser.parse_args()
    require_key(parser)
    serve.start(http_options={"host": given.host, "port": given.port})
    limits = (given.max_tokens, given.reply_seconds)
    app = build(given.speculative, given.target, given.replicas, *limits, num_gpus=given.num_gpus)
    serve.run(app, blocking=True)


if __name__ == "__main__":
    main()

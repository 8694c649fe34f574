"""The OpenAI-compatible server on Ray Serve, in several replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from ray import serve

from langchain_spec_thinking.cli.serve import DEFAULTS, Host, Port, ReplySeconds, ReplyTokens, client_key

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MODEL = (
    "A Hub id, a folder, openai:NAME@URL or openai:NAME@URL#TOKENIZER, or LangChain's provider:model. Give both "
    "models, or none for the pocket pair."
)
RUNNING = 8
"""Number of replies that a replica writes at the same time. Ray sends other requests to replicas that write fewer."""


def build(
    speculative: str | None = None,
    target: str | None = None,
    replicas: int = 2,
    max_tokens: int = DEFAULTS.tokens,
    reply_seconds: float = DEFAULTS.reply_seconds,
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
        from integrations.openai_server.recipe import build as build_server  # noqa: PLC0415 - the replica needs it
        from langchain_spec_thinking.serving.limits import Limits  # noqa: PLC0415 - as above

        # The key comes from the environment of the cluster, so that the application does not contain it.
        limits = Limits(tokens=max_tokens, reply_seconds=reply_seconds)
        app = build_server(speculative, target, api_key=client_key(), limits=limits)
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


def main(
    speculative: Annotated[str | None, typer.Option(help=f"The small model. {_MODEL}")] = None,
    target: Annotated[str | None, typer.Option(help=f"The large model. {_MODEL}")] = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    max_tokens: ReplyTokens = DEFAULTS.tokens,
    reply_seconds: ReplySeconds = DEFAULTS.reply_seconds,
    replicas: Annotated[int, typer.Option(help="Number of copies of the pair.", min=1)] = 2,
    num_gpus: Annotated[float, typer.Option(help="GPUs of each replica, if its models are local.", min=0)] = 0,
) -> None:
    """Run the server until it is interrupted. The key that clients send is in SPEC_THINKING_API_KEY."""
    client_key()  # fails before Ray starts
    if (speculative is None) is not (target is None):
        msg = "name both models, or neither for the pocket pair"
        raise typer.BadParameter(msg)
    serve.start(http_options={"host": host, "port": port})
    app = build(speculative, target, replicas, max_tokens, reply_seconds, num_gpus=num_gpus)
    serve.run(app, blocking=True)


if __name__ == "__main__":
    typer.run(main)

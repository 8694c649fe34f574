"""`spec-thinking serve`: a pair of models for OpenAI clients."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.failures import message_of
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.evaluation.policy_lines import FORM, parse_policy
from langchain_spec_thinking.installing import require_modules
from langchain_spec_thinking.serving.limits import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from langchain_spec_thinking import ChatSpeculativeThinking

KEY_VARIABLE = "SPEC_THINKING_API_KEY"
"""The environment variable with the key that clients send, unless `--api-key-env` names another one."""
DEFAULTS = Limits()

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)]
ReplyTokens = Annotated[int, typer.Option(help="Maximum length of a reply, in tokens.", min=1)]
ReplySeconds = Annotated[
    float, typer.Option(help="Maximum time of a reply, in seconds. Slow models need more.", min=0.001, max=1e6)
]


def serve(
    speculative: pairs.Speculative = None,
    target: pairs.Target = None,
    speculative_key_env: pairs.SpeculativeKeyEnv = None,
    target_key_env: pairs.TargetKeyEnv = None,
    policy: Annotated[
        str | None, typer.Option(help=f"{FORM}, for example gated. Default: the policy that suits the small model.")
    ] = None,
    model_name: Annotated[str, typer.Option(help="Name of the model that clients see.")] = "speculative-thinking",
    host: Host = "127.0.0.1",
    port: Port = 8080,
    api_key_env: Annotated[
        str, typer.Option(help="Name of the environment variable with the key that clients send.")
    ] = KEY_VARIABLE,
    max_tokens: ReplyTokens = DEFAULTS.tokens,
    reply_seconds: ReplySeconds = DEFAULTS.reply_seconds,
) -> None:
    """Serve a pair of models to OpenAI clients, at /v1/chat/completions and /v1/responses.

    The log goes to the standard output: one line of JSON for each request, without the text of users. /metrics is for
    Prometheus. Ctrl-C and SIGTERM end the server. Replies that are being written may then go on for ten seconds.
    """
    errors = Console(stderr=True, highlight=False)
    try:
        key = client_key(api_key_env)
        limits = Limits(tokens=max_tokens, reply_seconds=reply_seconds)
        require_modules("`serve`", "server", "fastapi", "prometheus_client", "uvicorn")  # before the models load
        model = pairs.pair(
            speculative,
            target,
            keys={"speculative": speculative_key_env, "target": target_key_env},
            policy=parse_policy(policy)[1] if policy else None,
            max_tokens=None,
            temperature=None,
            seed=None,
            answer_by="speculative",
            notes=errors,
        )
        app = _application(model, key, model_name, limits)
    except (BackendError, ImportError, OSError, ValueError) as e:
        errors.print(message_of(e), style="red", markup=False)
        raise typer.Exit(1) from e
    from langchain_spec_thinking.serving.connections import serve as serve_app  # noqa: PLC0415 - an optional extra

    serve_app(app, host=host, port=port)


def client_key(variable: str = KEY_VARIABLE) -> str:
    """Return the key that clients send.

    Args:
        variable: Name of the environment variable that holds the key.

    Raises:
        ValueError: The variable is not set. The message names no variable but the default one, because another name
            may be the key itself.
    """
    if key := os.environ.get(variable):
        return key
    if variable == KEY_VARIABLE:
        msg = f"set {variable} to the key that clients send, for example: export {variable}=$(openssl rand -hex 16)"
    else:
        msg = (
            "--api-key-env: expected the name of an environment variable that holds the key, got a name that is not set"
        )
    raise ValueError(msg)


def _application(model: ChatSpeculativeThinking, key: str, name: str, limits: Limits) -> FastAPI:
    from langchain_spec_thinking.serving.app import create_app  # noqa: PLC0415 - an optional extra

    return create_app(model, [key], name=name, limits=limits)

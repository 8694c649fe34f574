"""The application: endpoints of OpenAI's API for a small and a large model."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI, Request
from starlette.exceptions import HTTPException

from langchain_spec_thinking.serving.endpoints import Endpoints
from langchain_spec_thinking.serving.errors import RefusedError, refusal
from langchain_spec_thinking.serving.limits import Limits
from langchain_spec_thinking.serving.observed import Observed
from langchain_spec_thinking.serving.request_record import record_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastapi.responses import Response

    from langchain_spec_thinking import ChatSpeculativeThinking

_KEY = re.compile(r"[!-~]+")
"""A key that every client can send in a header."""


def create_app(
    model: ChatSpeculativeThinking,
    api_keys: Collection[str],
    *,
    name: str = "speculative-thinking",
    limits: Limits | None = None,
) -> FastAPI:
    """Make the application for any ASGI server.

    Example:
        ```python
        from langchain_spec_thinking import ChatSpeculativeThinking
        from langchain_spec_thinking.serving.app import create_app

        app = create_app(ChatSpeculativeThinking.pocket(), ["a-key-for-clients"])
        ```

    Args:
        model: The chat model.
        api_keys: The accepted API keys.
        name: The model's name for clients.
        limits: The limits of requests.

    Raises:
        ValueError: There is no key, or one of the keys cannot be sent in a header.
    """
    _require_keys(api_keys)
    limits = limits or Limits()
    endpoints = Endpoints(model, name, limits)
    app = FastAPI(title="Speculative Thinking", openapi_url=None, redirect_slashes=False, lifespan=endpoints.serving)
    app.state.limits = limits

    def require_key(request: Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        known = [secrets.compare_digest(given.strip().encode(), key.encode()) for key in api_keys]
        if scheme.lower() != "bearer" or not any(known):
            msg = "the key is missing or wrong; expected the header `Authorization: Bearer KEY`"
            raise RefusedError(401, msg, code="invalid_api_key")

    async def refused(request: Request, error: Exception) -> Response:
        return record_of(request.scope).refused(refusal(error)).response()

    for kind in (RefusedError, ValueError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)
    with_key = [Depends(require_key)]
    app.add_api_route("/v1/models", endpoints.models, dependencies=with_key)
    for path, answer in (("/v1/chat/completions", endpoints.chat), ("/v1/responses", endpoints.responses)):
        app.add_api_route(path, answer, methods=["POST"], dependencies=with_key, response_model=None)
    app.add_api_route("/health", lambda: {"status": "ok"})
    app.add_api_route("/metrics", endpoints.metrics_page)
    paths = frozenset(route.path for route in app.routes if hasattr(route, "path"))
    app.add_middleware(Observed, metrics=endpoints.metrics, endpoints=paths)
    return app


def _require_keys(keys: Collection[str]) -> None:
    """Refuse keys that let everybody or nobody in. No message repeats a key."""
    if isinstance(keys, str):  # a text is a collection of its characters, each of which would be a key
        msg = "api_keys: expected a list of keys, got one text. Write [key]."
        raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
    if not keys or not all(keys):
        msg = "api_keys: expected at least one key and no empty key, because otherwise anybody could use the models"
        raise ValueError(msg)
    if not all(_KEY.fullmatch(key) for key in keys):
        msg = (
            "api_keys: expected only visible ASCII characters in a key, because clients cannot send others in a "
            "header. Is there a space or a line end at the end of the key?"
        )
        raise ValueError(msg)

"""What is known about servers. Hosted services are found by address, engines by the owner of their models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_spec_thinking.backends.replies.continuation import ChatFlag, ChatInstruct, ChatMark, ChatTrailing

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.backends.replies.continuation import Strategy


@dataclass(frozen=True, slots=True)
class Engine:
    """A kind of server.

    Attributes:
        name: The usual name.
        strategies: Strategies to continue a turn that the server may support, best first. The last one works on any
            server.
        settled: Whether the first strategy is known to work, so that nothing needs to be tried.
        raw: Whether the completions endpoint passes prompts on unchanged. None if unknown.
        numbers_chunks: Whether the server numbers the chunks of a stream on request (`continuous_usage_stats`). Then a
            repeated event is detected, and a stream that is closed early has reported its usage.
        top_logprobs: Most tokens per position with log-probabilities. 0 if the server has none or refuses the request.
        stops: Whether the server stops writing and billing if the client hangs up. None if unknown.
        cache_flag: The server's option that reports how many tokens of a prompt came from the prefix cache.
        advice: Further advice for users of the server.
        heeded: Returns whether a backend's description shows that the advice is followed. The description does not show
            how the server was started.
    """

    name: str
    strategies: tuple[Strategy, ...] = (ChatFlag(), ChatTrailing(), ChatInstruct())
    settled: bool = False
    raw: bool | None = None
    numbers_chunks: bool = False
    top_logprobs: int = 20
    stops: bool | None = None
    cache_flag: str = ""
    advice: str = ""
    heeded: Callable[[dict[str, Any]], bool] = lambda _: False


_TRAILING = (ChatTrailing(), ChatInstruct())
UNKNOWN = Engine("an unknown server")

_BY_HOST = {
    "api.deepseek.com": Engine(
        "DeepSeek",
        (ChatMark("prefix", reasoning=True), ChatInstruct()),
        settled=True,
        raw=False,
        stops=True,
        advice="`base_url` must end in /beta: only there is a half-written reply continued.",
        heeded=lambda backend: backend["base_url"].rstrip("/").endswith("/beta"),
    ),
    "api.mistral.ai": Engine("Mistral", (ChatMark("prefix"), ChatInstruct()), settled=True, raw=False, stops=False),
    "api.moonshot.ai": Engine("Kimi", (ChatMark("partial"), ChatInstruct()), settled=True, raw=False),
    "api.moonshot.cn": Engine("Kimi", (ChatMark("partial"), ChatInstruct()), settled=True, raw=False),
    "aliyuncs.com": Engine("DashScope", (ChatMark("partial"), ChatInstruct()), settled=True, raw=False, stops=False),
    "openrouter.ai": Engine(
        "OpenRouter",
        _TRAILING,
        settled=True,
        advice="Pin one upstream provider: whether a reply is continued is up to it, and caches are its own.",
        heeded=lambda backend: "provider" in backend.get("extra_body", {}),
    ),
    "api.groq.com": Engine("Groq", _TRAILING, settled=True, raw=False, top_logprobs=0, stops=False),
    "api.together.xyz": Engine("Together", raw=True, stops=True),
    "api.fireworks.ai": Engine("Fireworks", raw=True, stops=True),
    "api.cerebras.ai": Engine("Cerebras", raw=True),
    "generativelanguage.googleapis.com": Engine("Gemini", _TRAILING, raw=False, stops=False),
    "api.anthropic.com": Engine("Anthropic", _TRAILING, raw=False, top_logprobs=0, stops=True),
    "api.openai.com": Engine("OpenAI", (ChatInstruct(),), settled=True, raw=False, stops=True),
    "openai.azure.com": Engine("Azure OpenAI", (ChatInstruct(),), settled=True, raw=False),
}
"""Hosted services by host, as their documentation describes them. A host includes its subdomains."""

_BY_OWNER = {
    "vllm": Engine(
        "vLLM",
        settled=True,
        raw=True,
        numbers_chunks=True,
        stops=True,
        cache_flag="--enable-prompt-tokens-details",
    ),
    "sglang": Engine(
        "SGLang",
        settled=True,
        raw=True,
        numbers_chunks=True,
        stops=True,
        cache_flag="--enable-cache-report",
    ),
    "llamacpp": Engine(
        "llama.cpp",
        (ChatFlag(reasoning=True), ChatTrailing(), ChatInstruct()),
        raw=True,
        stops=True,
        advice="Start it with --jinja, and with -c large enough for a whole turn in each of its -np slots.",
    ),
    "me": Engine("llama-cpp-python", raw=True, stops=True),
    "library": Engine(
        "Ollama",
        _TRAILING,
        raw=False,  # /v1/completions wraps the prompt into a user message
        stops=True,
        advice="Set OLLAMA_CONTEXT_LENGTH to the length of a whole turn: its default cuts prompts silently.",
    ),
    "organization_owner": Engine("LM Studio", _TRAILING),
}
"""Engines by the `owned_by` of the models that they list."""


def hosted(url: str) -> Engine | None:
    """Return the hosted service at an address, or None for any other server."""
    host = urlsplit(url).hostname or ""
    return next(
        (engine for known, engine in _BY_HOST.items() if host == known or host.endswith(f".{known}")),
        None,
    )


def owned_by(owner: str) -> Engine:
    """Return the engine that lists models with this owner."""
    return _BY_OWNER.get(owner, UNKNOWN)

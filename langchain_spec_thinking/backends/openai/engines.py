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
        first_strategy_works: Whether the first strategy is known to work, so that nothing needs to be tried.
        raw: Whether the completions endpoint passes prompts on unchanged. None if unknown.
        counts_tokens_per_chunk: Whether each chunk of a stream has the token count so far on request
            (`continuous_usage_stats`). Then a repeated event is detected, and a stream that is closed early has
            reported its usage.
        top_logprobs: Most tokens per position with log-probabilities. 0 if the server has none or refuses the request.
        stops_on_disconnect: Whether the server stops writing and billing if the client hangs up. None if unknown.
        cache_flag: The server's option that reports how many tokens of a prompt came from the prefix cache.
        advice: Further advice for users of the server.
        advice_followed: Returns whether a backend's description shows that the advice is followed. The description does
            not show how the server was started.
    """

    name: str
    strategies: tuple[Strategy, ...] = (ChatFlag(), ChatTrailing(), ChatInstruct())
    first_strategy_works: bool = False
    raw: bool | None = None
    counts_tokens_per_chunk: bool = False
    top_logprobs: int = 20
    stops_on_disconnect: bool | None = None
    cache_flag: str = ""
    advice: str = ""
    advice_followed: Callable[[dict[str, Any]], bool] = lambda _: False


_TRAILING = (ChatTrailing(), ChatInstruct())
UNKNOWN = Engine("an unknown server")

_BY_HOST = {
    "api.deepseek.com": Engine(
        "DeepSeek",
        (ChatMark("prefix", reasoning=True), ChatInstruct()),
        first_strategy_works=True,
        raw=False,
        stops_on_disconnect=True,
        advice="`base_url` must end in /beta, because only this address continues a half-written reply.",
        advice_followed=lambda backend: backend["base_url"].rstrip("/").endswith("/beta"),
    ),
    "api.mistral.ai": Engine(
        "Mistral", (ChatMark("prefix"), ChatInstruct()), first_strategy_works=True, raw=False, stops_on_disconnect=False
    ),
    "api.moonshot.ai": Engine("Kimi", (ChatMark("partial"), ChatInstruct()), first_strategy_works=True, raw=False),
    "api.moonshot.cn": Engine("Kimi", (ChatMark("partial"), ChatInstruct()), first_strategy_works=True, raw=False),
    "aliyuncs.com": Engine(
        "DashScope",
        (ChatMark("partial"), ChatInstruct()),
        first_strategy_works=True,
        raw=False,
        stops_on_disconnect=False,
    ),
    "openrouter.ai": Engine(
        "OpenRouter",
        _TRAILING,
        first_strategy_works=True,
        advice="Pin one upstream provider. Each provider has its own cache, and not every provider continues replies.",
        advice_followed=lambda backend: "provider" in backend.get("extra_body", {}),
    ),
    "api.groq.com": Engine(
        "Groq", _TRAILING, first_strategy_works=True, raw=False, top_logprobs=0, stops_on_disconnect=False
    ),
    "api.together.xyz": Engine("Together", raw=True, stops_on_disconnect=True),
    "api.fireworks.ai": Engine("Fireworks", raw=True, stops_on_disconnect=True),
    "api.cerebras.ai": Engine("Cerebras", raw=True),
    "generativelanguage.googleapis.com": Engine("Gemini", _TRAILING, raw=False, stops_on_disconnect=False),
    "api.anthropic.com": Engine("Anthropic", _TRAILING, raw=False, top_logprobs=0, stops_on_disconnect=True),
    "api.openai.com": Engine(
        "OpenAI", (ChatInstruct(),), first_strategy_works=True, raw=False, stops_on_disconnect=True
    ),
    "openai.azure.com": Engine("Azure OpenAI", (ChatInstruct(),), first_strategy_works=True, raw=False),
}
"""Hosted services by host, as their documentation describes them. A host includes its subdomains."""

_BY_OWNER = {
    "vllm": Engine(
        "vLLM",
        first_strategy_works=True,
        raw=True,
        counts_tokens_per_chunk=True,
        stops_on_disconnect=True,
        cache_flag="--enable-prompt-tokens-details",
    ),
    "sglang": Engine(
        "SGLang",
        first_strategy_works=True,
        raw=True,
        counts_tokens_per_chunk=True,
        stops_on_disconnect=True,
        cache_flag="--enable-cache-report",
    ),
    "llamacpp": Engine(
        "llama.cpp",
        (ChatFlag(reasoning=True), ChatTrailing(), ChatInstruct()),
        raw=True,
        stops_on_disconnect=True,
        advice="Start the server with --jinja. Set -c so that a whole turn fits in each of the -np slots.",
    ),
    "me": Engine("llama-cpp-python", raw=True, stops_on_disconnect=True),
    "library": Engine(
        "Ollama",
        _TRAILING,
        raw=False,  # /v1/completions wraps the prompt into a user message
        stops_on_disconnect=True,
        advice="Set OLLAMA_CONTEXT_LENGTH to the length of a whole turn. The default cuts prompts without an error.",
    ),
    "organization_owner": Engine("LM Studio", _TRAILING),
}
"""Engines by the `owned_by` of the models that they list."""


def hosted_engine(url: str) -> Engine | None:
    """Return the hosted service at an address, or None for any other server."""
    host = urlsplit(url).hostname or ""
    return next(
        (engine for known, engine in _BY_HOST.items() if host == known or host.endswith(f".{known}")),
        None,
    )


def engine_by_owner(owner: str) -> Engine:
    """Return the engine that lists models with this owner."""
    return _BY_OWNER.get(owner, UNKNOWN)

"""What is known of the servers there are: hosted services by their address, engines by what they call themselves."""

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
        name: What people call it.
        strategies: Ways to continue a turn that it may know, best first. The last needs nothing of a server.
        settled: The first is known to work, so that nothing needs to be tried.
        raw: Its completions endpoint passes prompts on as they are; None: nobody has shown it.
        numbers_chunks: It numbers the chunks of a stream when asked to (`continuous_usage_stats`): an event that comes
            twice is noticed, and a stream that is closed early has told its usage.
        top_logprobs: For how many tokens it tells log-probabilities; 0: it has none, or refuses to be asked.
        stops: It stops writing, and billing, when the client hangs up; None: nobody has shown it.
        cache_flag: Makes it tell how many tokens of a prompt came from its prefix cache.
        advice: What else matters, in words for whoever runs it.
        heeded: Tells from the description of a backend that the advice is followed; how a server was started is not
            to be seen in it.
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
"""Hosted services by what their documents say; a host stands for its subdomains too."""

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
    """Return the service that an address belongs to; None for any other server."""
    host = urlsplit(url).hostname or ""
    return next(
        (engine for known, engine in _BY_HOST.items() if host == known or host.endswith(f".{known}")),
        None,
    )


def owned_by(owner: str) -> Engine:
    """Return the engine whose models have an owner of that name."""
    return _BY_OWNER.get(owner, UNKNOWN)

"""What is known about servers. Hosted services are found by address, engines by the owner of their models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_spec_thinking.backends.replies.continuation import ChatFlag, ChatInstruct, ChatMark, ChatTrailing
from langchain_spec_thinking.backends.replies.returned_reasoning import INLINE, NOTHING, ReturnedReasoning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_spec_thinking.backends.replies.continuation import Strategy


@dataclass(frozen=True, slots=True)
class Engine:
    """A kind of server.

    Attributes:
        name: The usual name.
        strategies: Strategies to continue a turn that the server may support, best first. The last one works on any
            server.
        hosts: Hosts of a hosted service. A host includes its subdomains.
        owners: What the engine reports as `owned_by` of the models that it lists.
        first_strategy_works: Whether the first strategy is known to work, so that nothing needs to be tried. This
            holds for hosted services only. On a server of the user's own, it depends on the model's chat template.
        repeats: Whether the server repeats the given reply at the beginning of its output. Only such a repetition is
            removed, because a model may rightly repeat its reply.
        streams_repeat: Whether streams repeat the given reply, if replies that are no streams do.
        raw: Whether the completions endpoint passes prompts on unchanged. None if unknown.
        counts_tokens_per_chunk: Whether each chunk of a stream has the token count so far on request
            (`continuous_usage_stats`). Then a repeated event is detected, and a stream that is closed early has
            reported its usage.
        top_logprobs: Most tokens per position with log-probabilities. 0 if the server has none or refuses the request.
        returned_reasoning: Which reasoning of earlier messages the server wants back in a loop of tool calls.
        reasoning_in_total: Whether only the total of the reported usage counts the reasoning, and no other field does.
        new_limit_field: Whether the token limit is sent as `max_completion_tokens`. Newer models of OpenAI refuse
            `max_tokens`, and its older models accept both.
        stops_on_disconnect: Whether the server stops writing and billing if the client hangs up. None if unknown.
        cache_flag: The server's option that reports how many tokens of a prompt came from the prefix cache.
        reports_slot_context: Whether `/props` tells the context of a slot. A slot may have less than the model.
        advice: Further advice for users of the server.
        advice_followed: Returns whether a backend's description shows that the advice is followed. The description does
            not show how the server was started.
    """

    name: str
    strategies: tuple[Strategy, ...] = (ChatFlag(), ChatTrailing(), ChatInstruct())
    hosts: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    first_strategy_works: bool = False
    repeats: bool = False
    streams_repeat: bool = True
    raw: bool | None = None
    counts_tokens_per_chunk: bool = False
    top_logprobs: int = 20
    returned_reasoning: ReturnedReasoning = NOTHING
    reasoning_in_total: bool = False
    new_limit_field: bool = False
    stops_on_disconnect: bool | None = None
    cache_flag: str = ""
    reports_slot_context: bool = False
    advice: str = ""
    advice_followed: Callable[[dict[str, Any]], bool] = lambda _: False


_TRAILING = (ChatTrailing(), ChatInstruct())
_REASONING_CONTENT = ReturnedReasoning("reasoning_content")
UNKNOWN = Engine("an unknown server")

ENGINES = (
    # Hosted services, as their documentation describes them.
    Engine(
        "DeepSeek",
        (ChatMark("prefix", reasoning=True), ChatInstruct()),
        hosts=("api.deepseek.com",),
        # https://api-docs.deepseek.com/guides/thinking_mode, read in November 2026: a message without it is refused. An
        # empty text is accepted (opencode#17523).
        returned_reasoning=ReturnedReasoning("reasoning_content", earlier_loops=True, required=True),
        first_strategy_works=True,
        raw=False,
        stops_on_disconnect=True,
        advice="`base_url` must end in /beta, because only this address continues a half-written reply.",
        advice_followed=lambda backend: backend["base_url"].rstrip("/").endswith("/beta"),
    ),
    Engine(
        "Mistral",
        (ChatMark("prefix"), ChatInstruct()),
        hosts=("api.mistral.ai",),
        first_strategy_works=True,
        repeats=True,
        raw=False,
        stops_on_disconnect=False,
    ),
    Engine(
        "Kimi",
        (ChatMark("partial"), ChatInstruct()),
        hosts=("api.moonshot.ai", "api.moonshot.cn"),
        # A message with calls and without it is refused (continue#11600). An empty text is accepted (continue#11285).
        returned_reasoning=ReturnedReasoning("reasoning_content", required=True),
        first_strategy_works=True,
        raw=False,
    ),
    Engine(
        "DashScope",
        (ChatMark("partial"), ChatInstruct()),
        hosts=("aliyuncs.com",),
        first_strategy_works=True,
        raw=False,
        stops_on_disconnect=False,
    ),
    Engine(
        "OpenRouter",
        _TRAILING,
        hosts=("openrouter.ai",),
        first_strategy_works=True,
        advice="Pin one upstream provider. Each provider has its own cache, and not every provider continues replies.",
        advice_followed=lambda backend: "provider" in backend.get("extra_body", {}),
    ),
    Engine(
        "Groq",
        _TRAILING,
        hosts=("api.groq.com",),
        first_strategy_works=True,
        raw=False,
        top_logprobs=0,
        stops_on_disconnect=False,
    ),
    Engine(
        "GLM",
        hosts=("api.z.ai", "bigmodel.cn"),
        raw=False,
        returned_reasoning=_REASONING_CONTENT,  # https://docs.z.ai/guides/capabilities/thinking-mode
    ),
    Engine(
        "MiniMax",
        hosts=("api.minimax.io", "api.minimaxi.com"),
        raw=False,
        # https://platform.minimax.io/docs/guides/text-m2-function-call: with think tags, or in `reasoning_details`.
        returned_reasoning=ReturnedReasoning(INLINE),
    ),
    Engine("Together", hosts=("api.together.xyz",), raw=True, stops_on_disconnect=True),
    Engine("Fireworks", hosts=("api.fireworks.ai",), raw=True, stops_on_disconnect=True),
    Engine("Cerebras", hosts=("api.cerebras.ai",), raw=True),
    Engine(
        "Gemini",
        _TRAILING,
        hosts=("generativelanguage.googleapis.com",),
        raw=False,
        reasoning_in_total=True,
        stops_on_disconnect=False,
    ),
    Engine("Anthropic", _TRAILING, hosts=("api.anthropic.com",), raw=False, top_logprobs=0, stops_on_disconnect=True),
    Engine(
        "OpenAI",
        (ChatInstruct(),),
        hosts=("api.openai.com",),
        first_strategy_works=True,
        raw=False,
        new_limit_field=True,
        stops_on_disconnect=True,
    ),
    Engine("Azure OpenAI", (ChatInstruct(),), hosts=("openai.azure.com",), first_strategy_works=True, raw=False),
    # Engines that users run themselves.
    Engine(
        "vLLM",
        owners=("vllm",),
        returned_reasoning=ReturnedReasoning("reasoning"),  # passed to the chat template (vllm PR 27752)
        raw=True,
        counts_tokens_per_chunk=True,
        stops_on_disconnect=True,
        cache_flag="--enable-prompt-tokens-details",
    ),
    Engine(
        "SGLang",
        owners=("sglang",),
        raw=True,
        counts_tokens_per_chunk=True,
        stops_on_disconnect=True,
        cache_flag="--enable-cache-report",
    ),
    Engine(
        "llama.cpp",
        (ChatFlag(reasoning=True), ChatTrailing(), ChatInstruct()),
        owners=("llamacpp",),
        returned_reasoning=_REASONING_CONTENT,  # passed to the chat template
        raw=True,
        reports_slot_context=True,
        streams_repeat=False,
        stops_on_disconnect=True,
        advice="Set -c so that a whole turn fits in each of the -np slots. Start an older build with --jinja.",
    ),
    Engine("llama-cpp-python", owners=("me",), raw=True, stops_on_disconnect=True),
    Engine(
        "Ollama",
        _TRAILING,
        owners=("library",),
        raw=False,  # /v1/completions wraps the prompt into a user message
        stops_on_disconnect=True,
        advice="Set OLLAMA_CONTEXT_LENGTH to the length of a whole turn. The default cuts prompts without an error.",
    ),
    Engine("LM Studio", _TRAILING, owners=("organization_owner",)),
)
"""All known engines."""


def require_complete(engines: Iterable[Engine]) -> None:
    """Check that every engine can be found, and can always continue a turn.

    Raises:
        TypeError: An engine has neither a host nor an owner, two engines share one, or the last strategy of an engine
            does not work on every server.
    """
    found_by: dict[str, Engine] = {}
    for engine in engines:
        keys = (*engine.hosts, *engine.owners)
        if not keys:
            msg = (
                f"{engine.name}: expected its address in `hosts`, or the `owned_by` of its models in `owners`, got none"
            )
            raise TypeError(msg)
        if not engine.strategies or not isinstance(engine.strategies[-1], ChatInstruct):
            msg = f"{engine.name}: expected ChatInstruct() at the end of `strategies`, got {engine.strategies!r}"
            raise TypeError(msg)
        for key in keys:
            if (other := found_by.setdefault(key, engine)) is not engine:
                msg = f"{engine.name}: expected a host or owner of its own, but {other.name} has {key!r} too"
                raise TypeError(msg)


require_complete(ENGINES)


def hosted_engine(url: str) -> Engine | None:
    """Return the hosted service at an address, or None for any other server."""
    host = urlsplit(url).hostname or ""
    return next((engine for engine in ENGINES if any(f".{host}".endswith(f".{known}") for known in engine.hosts)), None)


def engine_by_owner(owner: str) -> Engine:
    """Return the engine that lists models with this owner."""
    return next((engine for engine in ENGINES if owner in engine.owners), UNKNOWN)

"""Wrong calls. mypy and pyright must reject every call in this file.

Both type checkers report a `type: ignore` that ignores nothing. So a wrong call that they accept is an error. Without
this file, types that accept everything would pass too.
"""

from __future__ import annotations

from langchain_spec_thinking import (
    Backend,
    ChatModelBackend,
    ChatSpeculativeThinking,
    DelegationPolicy,
    HuggingFaceBackend,
    OpenAIBackend,
    RandomTrigger,
)


class Unfinished(Backend):
    name = "unfinished"


def models() -> None:
    ChatSpeculativeThinking(speculative=1, target="org/large")  # type: ignore[arg-type]
    ChatSpeculativeThinking(speculative="org/small", target=None)  # type: ignore[arg-type]
    ChatSpeculativeThinking(speculative="org/small", target=HuggingFaceBackend)  # type: ignore[arg-type]
    ChatSpeculativeThinking(speculative="org/small")  # type: ignore[call-arg]
    ChatSpeculativeThinking("org/small", "org/large")  # type: ignore[call-arg]


def settings() -> None:
    ChatSpeculativeThinking(speculative="org/small", target="org/large", temprature=0)  # type: ignore[call-arg]
    ChatSpeculativeThinking(speculative="org/small", target="org/large", policy="paper")  # type: ignore[arg-type]
    ChatSpeculativeThinking(speculative="org/small", target="org/large", answer_by="inserted")  # type: ignore[arg-type]
    ChatSpeculativeThinking(speculative="org/small", target="org/large", stop=1)  # type: ignore[arg-type]
    ChatSpeculativeThinking(speculative="org/small", target="org/large", timeout="60")  # type: ignore[arg-type]
    ChatSpeculativeThinking.pocket(seed="7")  # type: ignore[arg-type]
    ChatSpeculativeThinking.pocket(models="org/large")  # type: ignore[call-arg]


def attributes(model: ChatSpeculativeThinking) -> None:
    model.target = "org/large"  # type: ignore[assignment]


def backends() -> None:
    OpenAIBackend()  # type: ignore[call-arg]
    OpenAIBackend("name", continuation="exact")  # type: ignore[arg-type]
    ChatModelBackend("name")  # type: ignore[arg-type]
    HuggingFaceBackend(7)  # type: ignore[arg-type]
    Unfinished()  # type: ignore[abstract]


def policies() -> None:
    DelegationPolicy(trigger=RandomTrigger)  # type: ignore[arg-type]
    DelegationPolicy(takeover_tokens="whole")  # type: ignore[arg-type]
    DelegationPolicy(takeovers=20)  # type: ignore[call-arg]

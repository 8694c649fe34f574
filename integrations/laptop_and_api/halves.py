"""The two halves of a pair: small models that run on this machine, and large models at hosted services."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking import DelegationPolicy, HuggingFaceBackend, OpenAIBackend, Price

if TYPE_CHECKING:
    from langchain_spec_thinking import Backend

FREE = Price(0, 0)
"""A server on this machine sends no bill. Without a price, the cost of the pair would not be known."""


@dataclass(frozen=True)
class LocalHalf:
    """A small model on this machine.

    Attributes:
        model: Name of the model on its server. Without a server: Hub id or folder.
        url: Address of the server. None: the model runs in this process.
        tokenizer: Hub id or folder of the model's tokenizer. None if the server takes no raw prompts.
    """

    model: str
    url: str | None = None
    tokenizer: str | None = None

    def backend(self, **settings: Any) -> Backend:
        """Return the backend. The settings are further arguments of `OpenAIBackend`."""
        if self.url is None:
            return HuggingFaceBackend(self.model)
        return OpenAIBackend(self.model, base_url=self.url, tokenizer=self.tokenizer, price=FREE, **settings)


@dataclass(frozen=True)
class HostedHalf:
    """A large model at a service that bills each token.

    Attributes:
        model: Name of the model at the service.
        url: Address of the service.
        key_variable: Environment variable with the API key.
        continues: Whether the service continues a reply that another model has begun.
        price: Price of the model. None: the price that genai-prices lists.
    """

    model: str
    url: str
    key_variable: str
    continues: bool
    price: Price | None = None

    @property
    def policy(self) -> DelegationPolicy:
        """The policy that asks the model at most once for a question, because each request is billed."""
        return DelegationPolicy(takeover_tokens="rest") if self.continues else DelegationPolicy.gated()

    def backend(self, **settings: Any) -> OpenAIBackend:
        """Return the backend. The settings are further arguments of `OpenAIBackend`."""
        key = os.environ.get(self.key_variable, "")
        return OpenAIBackend(self.model, base_url=self.url, api_key=key, price=self.price, **settings)


_SMALL = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
LOCAL = {
    "llama-server": LocalHalf("small", "http://127.0.0.1:8081/v1", tokenizer=_SMALL),
    "ollama": LocalHalf("deepseek-r1:1.5b", "http://127.0.0.1:11434/v1"),
    "transformers": LocalHalf(_SMALL),
}
HOSTED = {
    "deepseek": HostedHalf("deepseek-flash", "https://api.deepseek.com/beta", "DEEPSEEK_API_KEY", continues=True),
    "mistral": HostedHalf("mistral-large-2512", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", continues=True),
    "openrouter": HostedHalf("qwen/qwen3-32b", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", continues=True),
    "openai": HostedHalf("gpt-5-mini", "https://api.openai.com/v1", "OPENAI_API_KEY", continues=False),
    "anthropic": HostedHalf("claude-sonnet-5", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", continues=False),
    "google": HostedHalf(
        "gemini-3.8-flash",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        continues=False,
    ),
}

"""What the finish reason of a server means. Each vendor and each engine has its own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from langchain_spec_thinking.surrogates import whole_characters

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.commands import EndReason

Meaning = Literal["stop", "length", "filter", "failure", "unknown"]
_WORDS: Final[dict[Meaning, tuple[str, ...]]] = {
    "stop": (
        *("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"),
        *("tool_calls", "tool_call", "tool_use", "function_call"),
    ),
    "length": ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"),
    "filter": (
        *("content_filter", "content_filtered", "guardrail_intervened", "refusal", "sensitive", "error_toxic"),
        *("safety", "recitation", "blocklist", "prohibited_content", "spii", "model_armor"),
    ),
    "failure": (
        *("error", "network_error", "insufficient_system_resource"),
        *("abort", "aborted", "cancel", "canceled", "cancelled"),
    ),
}
"""Words by their meaning, in lower case.

- filter: OpenAI, Amazon (`content_filtered`, `guardrail_intervened`), Anthropic (`refusal`), Z.ai (`sensitive`), Cohere
  (`error_toxic`), Google.
- failure: OpenRouter and vLLM (`error`), vLLM and SGLang (`abort`), Z.ai (`network_error`), DeepSeek
  (`insufficient_system_resource`).
"""
_MEANINGS: Final[dict[str, Meaning]] = {word: meaning for meaning, words in _WORDS.items() for word in words}
_NO_REASON: Final = {"finish_reason_unspecified", "null", "none"}
"""Words in an event that is not the last one, for example Google's."""
_WORD_MAX = 50
"""Longest finish reason that is shown, in characters."""


@dataclass(frozen=True, slots=True)
class FinishReason:
    """Why a server ended a reply.

    Attributes:
        word: The server's own word.
        meaning: `"stop"` and `"length"`: the ordinary ends. `"filter"`: a filter stopped the reply. `"failure"`: the
            server could not finish the reply, so the rest is missing. `"unknown"`: no meaning is known.
    """

    word: str
    meaning: Meaning

    @classmethod
    def of(cls, value: object) -> Self | None:
        """Return what the value of a field means. None: it is no finish reason, so the reply goes on.

        Args:
            value: What the server sent. A member of an enumeration counts as its name. Details after a colon change
                nothing.
        """
        name, colon, details = whole_characters(str(value or "")).partition(":")
        word = f"{name.rpartition('.')[2]}{colon}{details}"[:_WORD_MAX]
        return cls(word, _meaning(word)) if word and word.lower() not in _NO_REASON else None

    @property
    def ends_reply(self) -> bool:
        """Whether the reply is complete, so that nothing is missing which another request could bring."""
        return self.meaning != "failure"

    @property
    def end_reason(self) -> EndReason:
        """The reason of the backend's `End`."""
        return "length" if self.meaning == "length" else "stop"

    @property
    def unusual_word(self) -> str | None:
        """The server's own word. None for an ordinary end."""
        return None if self.meaning in {"stop", "length"} else self.word


def note_on(word: str, name: str) -> str:
    """Say what an unusual finish reason means for the reply.

    Args:
        word: The server's own word.
        name: The name of the model.
    """
    if _meaning(word) == "filter":
        return f"a content filter ended the reply of {name} early (finish reason {word!r})"
    return f"{name} ended its reply with the finish reason {word!r}, so the reply may be incomplete"


def _meaning(word: str) -> Meaning:
    return _MEANINGS.get(word.partition(":")[0].strip().lower(), "unknown")

"""Fake services that users pay for, and a gateway to such services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langchain_spec_thinking.testing import words
from tests.unit_tests.providers.fake import OPENAI_FIELDS, Provider, RefusalError, unknown
from tests.unit_tests.providers.model import reply_so_far, shown_closed, shown_open, shown_trailing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.backends.replies.continuation import StrategyName

_NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."
_NO_MODEL_TURN = "Requests ending with a model turn are not supported."
_WHITE_SPACE = "messages: final assistant content cannot end with trailing whitespace"


def _trails(body: dict[str, Any]) -> bool:
    return bool(body["messages"][-1]["role"] == "assistant")


def _gemini_error(message: str) -> list[dict[str, Any]]:
    return [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]


class _Marked(Provider):
    """Continues a last message that has a mark."""

    auto: ClassVar[StrategyName] = "chat_mark"
    mark: ClassVar[str]

    def shown(self, body: dict[str, Any]) -> str:
        messages = body["messages"]
        return shown_open(messages) if messages[-1].get(self.mark) else shown_closed(messages)


class _Trailing(Provider):
    """Continues a last message from the assistant."""

    auto: ClassVar[StrategyName] = "chat_trailing"

    def shown(self, body: dict[str, Any]) -> str:
        return shown_trailing(body["messages"])


class DeepSeek(_Marked):
    """DeepSeek at its beta address.

    - documented: `prefix: true` continues the last message; partial thought goes into `reasoning_content`.
    - guessed: a trailing message without the mark is closed.
    - documented: the thought comes in `reasoning_content`.
    - documented: comments keep a stream alive.
    - documented: the list of models contains `deepseek`.
    """

    name = "DeepSeek, `/beta`"
    checked = "2026-11-27, read: [reference](https://api-docs.deepseek.com/api/create-chat-completion)"
    url = "https://api.deepseek.com/beta"
    owner = "deepseek"
    mark = "prefix"
    reasoning_field = "reasoning_content"

    def between(self) -> bytes:
        return b": keep-alive\n\n"


class DeepSeekNotBeta(DeepSeek):
    """DeepSeek at its other address.

    - guessed: `prefix` is refused with 400.
    - documented: the thought comes in `reasoning_content`.
    """

    name = "DeepSeek, elsewhere"
    checked = "2026-11-27, read: [guide](https://api-docs.deepseek.com/guides/chat_prefix_completion)"
    url = "https://api.deepseek.com/v1"
    auto = "chat_instruct"

    def refuse(self, body: dict[str, Any]) -> None:
        if "prefix" in body["messages"][-1]:
            raise RefusalError(400, "prefix completion is a beta feature: use base_url https://api.deepseek.com/beta")


class Mistral(_Marked):
    """Mistral.

    - documented: `prefix: true` continues the last message.
    - recorded: the reply begins by repeating that message.
    - recorded: a trailing message without the mark is refused with 400, and an unknown field with 422.
    - guessed: `seed` and `stream_options` are unknown fields; streams contain the usage anyway.
    - documented: it continues to write if the client hangs up.
    """

    name = "Mistral"
    checked = (
        "2026-11-27, read: [reference]"
        "(https://docs.rs/crate/mistral-openapi-client/latest/source/docs/AssistantMessage.md)"
    )
    url = "https://api.mistral.ai/v1"
    owner = "mistralai"
    mark = "prefix"
    bills_on = True

    def refuse(self, body: dict[str, Any]) -> None:
        fields = unknown(body, OPENAI_FIELDS - {"seed", "stream_options"} | {"random_seed"})
        if fields:
            detail = [
                {"type": "extra_forbidden", "loc": ["body", field], "msg": "Extra inputs are not permitted"}
                for field in fields
            ]
            raise RefusalError(422, {"object": "error", "message": {"detail": detail}})
        if _trails(body) and not body["messages"][-1].get("prefix"):
            expected = "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant"
            raise RefusalError(400, {"object": "error", "message": expected})

    def echo(self, body: dict[str, Any]) -> str:
        return reply_so_far(self.shown(body))


class Magistral(Mistral):
    """Mistral's reasoning models.

    - documented: `prefix: true` continues the last message.
    - documented: the thought comes as a part of type `thinking` in a list of parts.
    - documented: a part of type `thinking` in the prefix with `closed: false` is an open thought.
    - guessed: think tags in a prefix open a thought.
    """

    name = "Mistral, reasoning"
    checked = (
        "2026-11-27, read: [reference](https://docs.rs/crate/mistral-openapi-client/latest/source/docs/ThinkChunk.md)"
    )
    reasoning_field = "thinking"

    def deltas(self, shown: str, written: str) -> Iterator[dict[str, Any]]:
        thought, answer = self.split(shown, written)
        for token in words(thought):
            yield {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": token}]}]}
        yield from ({"content": token} for token in words(answer))


class Kimi(_Marked):
    """Kimi (Moonshot).

    - documented: `partial: true` continues the last message; the reply does not repeat it.
    - documented: in thinking mode, `reasoning_content` of that message is a finished thought.
    - guessed: think tags in its content open a thought.
    - guessed: a trailing message without the mark is closed.
    """

    name = "Kimi"
    checked = "2026-11-27, read: [guide](https://platform.kimi.ai/docs/guide/use-partial-mode-feature-of-kimi-api)"
    url = "https://api.moonshot.ai/v1"
    owner = "moonshot"
    mark = "partial"


class DashScope(_Marked):
    """DashScope.

    - documented: `partial: true` continues the last message of a model that does not think.
    - guessed: think tags in its content open a thought.
    - guessed: a trailing message without the mark is closed.
    - documented: it continues to write if the client hangs up.
    """

    name = "DashScope"
    checked = "2026-11-27, read: [guide](https://help.aliyun.com/zh/model-studio/partial-mode)"
    url = "https://dashscope.aliyuncs.com/compatible-mode/v1"
    owner = "system"
    mark = "partial"
    bills_on = True


class OpenRouter(_Trailing):
    """OpenRouter with an upstream provider that continues replies.

    - documented: a trailing message is continued if the upstream provider does so.
    - documented: comments keep a stream alive.
    """

    name = "OpenRouter"
    checked = "2026-11-27, read: [reference](https://openrouter.ai/docs/api-reference/overview)"
    url = "https://openrouter.ai/api/v1"

    def between(self) -> bytes:
        return b": OPENROUTER PROCESSING\n\n"


class Groq(_Trailing):
    """Groq.

    - documented: a trailing message is continued.
    - documented: the usage of a stream is in `x_groq`.
    - recorded: an unknown field is refused with 400.
    - documented: it continues to write if the client hangs up.
    """

    name = "Groq"
    checked = "2026-11-27, read: [guide](https://console.groq.com/docs/prefilling)"
    url = "https://api.groq.com/openai/v1"
    owner = "Meta"
    bills_on = True

    def refuse(self, body: dict[str, Any]) -> None:
        if fields := unknown(body):
            raise RefusalError(400, f"property '{fields[0]}' is unsupported")

    def last(self, prompt: int, completion: int) -> dict[str, Any]:
        return {"choices": [], "x_groq": super().last(prompt, completion)}


class Fireworks(Provider):
    """Fireworks.

    - guessed: a trailing message counts as complete.
    - recorded: an unknown field is refused with 400.
    - documented: completions take a prompt unchanged.
    """

    name = "Fireworks"
    checked = "2026-11-27, read: [guide](https://docs.fireworks.ai/guides/completions-api)"
    url = "https://api.fireworks.ai/inference/v1"
    auto = "chat_instruct"
    raw = True
    owner = "fireworks"
    completions_max_tokens = 16

    def refuse(self, body: dict[str, Any]) -> None:
        if fields := unknown(body):
            raise RefusalError(400, f"Extra inputs are not permitted, field: '{fields[0]}', value: {body[fields[0]]}")


class OpenAI(Provider):
    """OpenAI.

    - guessed: a trailing message counts as complete, and a new one begins.
    - documented: an unknown field is refused with 400.
    - documented: `max_completion_tokens` is the limit; newer models refuse `max_tokens`.
    """

    name = "OpenAI"
    checked = "2026-11-27, read: [LiteLLM's list](https://docs.litellm.ai/docs/completion/prefix)"
    url = "https://api.openai.com/v1"
    auto = "chat_instruct"
    owner = "system"
    limit_field = "max_completion_tokens"

    def refuse(self, body: dict[str, Any]) -> None:
        if fields := unknown(body, OPENAI_FIELDS - {"max_tokens"} | {self.limit_field}):
            raise RefusalError(400, f"Unrecognized request argument supplied: {fields[0]}")


class Claude(_Trailing):
    """Anthropic's OpenAI-compatible address, Claude up to 4.5.

    - documented: a trailing message is continued; white space at its end is refused with 400.
    - documented: unknown fields are ignored.
    """

    name = "Claude, up to 4.5"
    checked = (
        "2026-11-27, read: [guide]"
        "(https://platform.claude.com/docs/en/build-with-claude/prompt-engineering/prefill-claudes-response)"
    )
    url = "https://api.anthropic.com/v1"

    def refuse(self, body: dict[str, Any]) -> None:
        content = body["messages"][-1]["content"]
        if _trails(body) and content != content.rstrip():
            raise RefusalError(400, _WHITE_SPACE)

    def models(self) -> dict[str, Any]:
        return {"data": [{"type": "model", "id": self.model}], "has_more": False}


class NewClaude(Claude):
    """Anthropic's OpenAI-compatible address, Claude from 4.6.

    - recorded: a trailing message is refused with 400.
    - documented: unknown fields are ignored.
    """

    name = "Claude, from 4.6"
    checked = "2026-11-27, report: [deepagents 1585](https://github.com/langchain-ai/deepagents/issues/1585)"
    auto = "chat_instruct"

    def refuse(self, body: dict[str, Any]) -> None:
        if _trails(body):
            raise RefusalError(400, _NO_PREFILL)


class Gemini(_Trailing):
    """Gemini's OpenAI-compatible address, models before 3.6 (but not 3.5 Flash-Lite).

    - guessed: a trailing message is continued.
    - recorded: an unknown field is refused with 400, in a list of errors.
    - guessed: `seed` is an unknown field.
    - documented: it continues to write if the client hangs up.
    """

    name = "Gemini, before 3.6"
    checked = "2026-11-27, nothing found"
    url = "https://generativelanguage.googleapis.com/v1beta/openai"
    owner = "google"
    bills_on = True

    def refuse(self, body: dict[str, Any]) -> None:
        if fields := unknown(body, OPENAI_FIELDS - {"seed"}):
            errors = "\n".join(
                f'Invalid JSON payload received. Unknown name "{field}": Cannot find field.' for field in fields
            )
            raise RefusalError(400, _gemini_error(errors))


class NewGemini(Gemini):
    """Gemini's OpenAI-compatible address, 3.5 Flash-Lite and models from 3.6.

    - recorded: a trailing message is refused with 400.
    - recorded: an unknown field is refused with 400, in a list of errors.
    """

    name = "Gemini, from 3.6"
    checked = "2026-11-27, report: [Zoo-Code 1052](https://github.com/Zoo-Code-Org/Zoo-Code/issues/1052)"
    auto = "chat_instruct"

    def refuse(self, body: dict[str, Any]) -> None:
        super().refuse(body)
        if _trails(body):
            raise RefusalError(400, _gemini_error(_NO_MODEL_TURN))


class LiteLLM(_Trailing):
    """LiteLLM's proxy in front of Claude up to 4.5.

    - documented: a trailing message is passed on, white space at its end cut off.
    - guessed: an unknown field is passed on, and Claude refuses it with 400.
    - documented: completions wrap the prompt into a user message.
    - guessed: the list of models contains `openai`.
    """

    name = "LiteLLM"
    checked = "2026-11-27, read: [guide](https://docs.litellm.ai/docs/completion/prefix)"
    url = "http://litellm.test:4000/v1"
    owner = "openai"

    def refuse(self, body: dict[str, Any]) -> None:
        if fields := unknown(body):
            raise RefusalError(400, f"litellm.BadRequestError: {fields[0]}: Extra inputs are not permitted")

    def shown(self, body: dict[str, Any]) -> str:
        return super().shown(body).rstrip() if _trails(body) else super().shown(body)

    def prompt(self, body: dict[str, Any]) -> str:
        return shown_closed([{"role": "user", "content": body["prompt"]}])


SERVICES = (
    *(DeepSeek, DeepSeekNotBeta, Mistral, Magistral, Kimi, DashScope, OpenRouter, Groq, Fireworks, OpenAI),
    *(Claude, NewClaude, Gemini, NewGemini, LiteLLM),
)

"""Fake engines that users run themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langchain_spec_thinking.turn import THINK_CLOSE
from tests.unit_tests.providers.fake import OPENAI_FIELDS, Provider, RefusalError, unknown
from tests.unit_tests.providers.model import reply_so_far, shown_closed, shown_open, shown_trailing

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.continuation import StrategyName


class _Flagged(Provider):
    """Supports `continue_final_message`."""

    auto: ClassVar[StrategyName] = "chat_flag"
    raw = True

    def refuse(self, body: dict[str, Any]) -> None:
        if body.get("continue_final_message") and body.get("add_generation_prompt", True):
            raise RefusalError(400, "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")

    def shown(self, body: dict[str, Any]) -> str:
        return shown_open(body["messages"]) if body.get("continue_final_message") else super().shown(body)


class VLLM(_Flagged):
    """vLLM without a reasoning parser.

    - recorded: `continue_final_message` leaves the last message open, in place.
    - documented: with `add_generation_prompt` the flag is refused with 400.
    - recorded: a trailing message without the flag is closed, and a new one begins.
    - recorded: completions take a prompt unchanged, and end after 16 tokens if `max_tokens` is missing.
    - documented: the list of models contains `vllm` and `max_model_len`.
    """

    name = "vLLM"
    checked = "at every change, tested: `tests/integration_tests`"
    url = "http://vllm.test:8000/v1"
    owner = "vllm"
    about: ClassVar = {"max_model_len": 4096}
    completions_max_tokens = 16


class VLLMWithParser(VLLM):
    """vLLM with a reasoning parser.

    - recorded: `continue_final_message` leaves the last message open, in place.
    - documented: the thought comes in `reasoning`.
    - guessed: the parser does not see the prefilled text, and takes all text before `</think>` for the thought.
    """

    name = "vLLM, reasoning parser"
    checked = "2026-11-27, report: [vllm 28089](https://github.com/vllm-project/vllm/issues/28089)"
    url = "http://vllm-parser.test:8000/v1"
    reasoning_field = "reasoning"

    def split(self, shown: str, written: str) -> tuple[str, str]:
        return super().split("", f"<think>\n{written.removeprefix('<think>' + chr(10))}")


class SGLang(_Flagged):
    """SGLang.

    - documented: `continue_final_message` appends the last message to the generation prompt.
    - documented: a trailing message without the flag becomes a user message.
    - documented: completions take a prompt unchanged, and end after 16 tokens if `max_tokens` is missing.
    - documented: the list of models contains `sglang` and `max_model_len`.
    """

    name = "SGLang"
    checked = "2026-11-27, read: [sglang 17065](https://github.com/sgl-project/sglang/pull/17065)"
    url = "http://sglang.test:30000/v1"
    owner = "sglang"
    about: ClassVar = {"max_model_len": 4096}
    completions_max_tokens = 16

    def shown(self, body: dict[str, Any]) -> str:
        *before, last = body["messages"]
        if body.get("continue_final_message"):
            return shown_closed(before) + str(last["content"])
        return shown_closed([*before, {**last, "role": "user"}])


class LlamaCpp(_Flagged):
    """llama.cpp's own server.

    - recorded: `continue_final_message` leaves the last message open, in `reasoning_content` or its content.
    - recorded: the value `"content"` closes the thought, also if there is no content yet.
    - recorded: a bare trailing message is left open too.
    - recorded: a reply that is no stream begins by repeating that message.
    - recorded: the thought comes in `reasoning_content`, also if the prompt has opened it.
    - recorded: completions take a prompt unchanged.
    - recorded: the list of models contains `llamacpp`, and `n_ctx_train` in `meta`.
    - recorded: `/props` contains the context of a slot.
    """

    name = "llama.cpp"
    checked = "at every change, tested: `tests/integration_tests`"
    url = "http://llama-cpp.test:8080/v1"
    owner = "llamacpp"
    about: ClassVar = {"meta": {"n_ctx_train": 4096}}
    reasoning_field = "reasoning_content"

    def shown(self, body: dict[str, Any]) -> str:
        shown = shown_trailing(body["messages"])
        closes = body.get("continue_final_message") == "content" and not body["messages"][-1]["content"]
        return f"{shown.rstrip()}\n{THINK_CLOSE}\n\n" if closes else shown

    def echo(self, body: dict[str, Any]) -> str:
        last = {} if body.get("stream") or "messages" not in body else body["messages"][-1]
        return str(last.get("content") or "") if last.get("role") == "assistant" else ""

    def properties(self) -> dict[str, Any]:
        return {"default_generation_settings": {"n_ctx": 2048}}


class LlamaCppPython(Provider):
    """The server of llama-cpp-python.

    - recorded: it ignores `continue_final_message`, and begins a new message after a trailing one.
    - recorded: completions take a prompt unchanged.
    - recorded: streams contain no usage.
    - documented: the list of models contains `me`.
    """

    name = "llama-cpp-python"
    checked = "2026-11-26, tested: version 0.3.36 of its server"
    url = "http://llama-cpp-python.test:8000/v1"
    auto = "chat_instruct"
    raw = True
    owner = "me"
    about: ClassVar = {"permissions": []}
    usage_streams = False
    completions_max_tokens = 16


class TransformersServe(Provider):
    """`transformers serve`.

    - recorded: it refuses `continue_final_message` with 422, and begins a new message after a trailing one.
    - recorded: completions take a prompt unchanged, and refuse `stream_options` with 422.
    - recorded: streams contain no `[DONE]`.
    - recorded: it lists the models of the hub's cache, and not the model that it serves.
    """

    name = "transformers serve"
    checked = "at every change, tested: `tests/integration_tests`"
    url = "http://transformers.test:8000/v1"
    auto = "chat_instruct"
    raw = True
    done = False
    completions_max_tokens = 16

    def refuse(self, body: dict[str, Any]) -> None:
        if fields := unknown(body):
            raise RefusalError(422, {"detail": f"Unexpected fields in the request: {set(fields)}"})

    def prompt(self, body: dict[str, Any]) -> str:
        if fields := unknown(body, OPENAI_FIELDS - {"messages", "stream_options"} | {"prompt"}):
            raise RefusalError(422, {"detail": f"Unexpected fields in the request: {set(fields)}"})
        return super().prompt(body)

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": []}


class Ollama(Provider):
    """Ollama's OpenAI-compatible address.

    - guessed: a trailing message is left open, as most of its templates do; the flag is ignored.
    - documented: completions wrap the prompt into a user message.
    - documented: the list of models contains `library`.
    """

    name = "Ollama"
    checked = "2026-11-27, read: [ollama 17187](https://github.com/ollama/ollama/pull/17187)"
    url = "http://ollama.test:11434/v1"
    auto = "chat_trailing"
    owner = "library"

    def shown(self, body: dict[str, Any]) -> str:
        return shown_trailing(body["messages"])

    def prompt(self, body: dict[str, Any]) -> str:
        return shown_closed([{"role": "user", "content": body["prompt"]}])


class LMStudio(Provider):
    """LM Studio.

    - recorded: a trailing message is continued, and 0.4.16 repeats it first.
    - guessed: it ignores `continue_final_message`.
    - documented: completions take a prompt unchanged.
    - recorded: the list of models contains `organization_owner`.
    """

    name = "LM Studio"
    checked = (
        "2026-11-22, report: [lmstudio-bug-tracker 2041]"
        "(https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/2041)"
    )
    url = "http://lm-studio.test:1234/v1"
    auto = "chat_trailing"
    raw = True
    owner = "organization_owner"

    def shown(self, body: dict[str, Any]) -> str:
        return shown_trailing(body["messages"])

    def echo(self, body: dict[str, Any]) -> str:
        return reply_so_far(self.shown(body)) if "messages" in body else ""


class TGI(_Flagged):
    """Text Generation Inference.

    - documented: `continue_final_message` leaves the last message open.
    - recorded: white space at the end of that message is cut off.
    - documented: completions take a prompt unchanged.
    - guessed: the list of models contains the model's name as its owner.
    """

    name = "TGI"
    checked = (
        "2026-11-27, read: [text-generation-inference 2733]"
        "(https://github.com/huggingface/text-generation-inference/pull/2733)"
    )
    url = "http://tgi.test:3000/v1"
    owner = "big"

    def shown(self, body: dict[str, Any]) -> str:
        shown = super().shown(body)
        return shown.rstrip() if body.get("continue_final_message") else shown


ENGINES = (VLLM, VLLMWithParser, SGLang, LlamaCpp, LlamaCppPython, TransformersServe, Ollama, LMStudio, TGI)

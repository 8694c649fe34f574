"""A conversation that is too long is one error after one request. If a part of the answer fits, it is requested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.exceptions import ContextOverflowError

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking
from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.backends.context_overflow import is_too_long, room_in
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.room import tokens_that_fit
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends.test_call_arguments import chat_openai
from tests.unit_tests.backends.test_chat_model import Plain
from tests.unit_tests.backends.test_refused_fields import Strict
from tests.unit_tests.wire import Server, delta, event, sse, text

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT: dict[str, Any] = {"tokenizer": None, "continuation": "chat_flag", "max_retries": 2}
BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["blocking", "asynchronous"])


async def send(backend: Any, max_tokens: int, half: Turn, *, asynchronously: bool) -> list[Any]:
    request = Request(max_tokens)
    if asynchronously:
        return [found async for found in backend.acontinue_turn(half, request)]
    return list(backend.continue_turn(half, request))


def asked(words: str = "hi") -> Turn:
    return Turn((Message("user", words),))


N_CTX = {"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}
OVERFLOWS: dict[str, tuple[int, Any]] = {  # the status, and a message, an error with a message, or a whole body
    "llama.cpp": (400, {"message": "request (5000 tokens) exceeds the available context size (4096 tokens)", **N_CTX}),
    "llama.cpp, an older build": (500, {"message": "the request exceeds the available context size", **N_CTX}),
    "vLLM": (400, "This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens."),
    "vLLM, output counted": (
        400,
        "You passed 5001 input tokens and requested 2048 output tokens. The model's context length is only 4096 tokens",
    ),
    "vLLM, completions": (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    "SGLang": (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    "TGI": (422, "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"),
    "OpenAI": (
        400,
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
    ),
    "OpenAI, newer models": (400, "Your input exceeds the context window of this model."),
    "Anthropic": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "Bedrock": (400, "Input is too long for requested model."),
    "Gemini": (400, "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)."),
    "DashScope": (400, "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]"),
    "Groq": (400, "Please reduce the length of the messages or completion."),
    "Kimi": (400, "Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)"),
    "xAI": (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    "Mistral": (400, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    "Cohere": (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000"),
    "GitHub Copilot": (400, "prompt token count of 128001 exceeds the limit of 128000"),
    "MiniMax": (400, "invalid params, context window exceeds limit (2013)"),
    "LM Studio": (400, "tokens to keep from the initial prompt is greater than the context length"),
    "Ollama": (400, "prompt too long; exceeded max context length by 904 tokens"),
    "a gateway without words": (413, ""),
    "only a code": (400, {"message": "Your input is too big for us", "code": "context_length_exceeded"}),
    "FastAPI": (422, {"detail": "prompt is too long: 9 tokens"}),
    "an error that is a text": (400, {"error": "The prompt is too long"}),
    "a gateway": (400, {"statusCode": 400, "error": "Bad Request", "message": "prompt is too long: 9 tokens"}),
}


def body_of(error: Any) -> Any:
    """Return the body of a response with an error."""
    if isinstance(error, str):
        return {"error": {"message": error}}
    return error if {"error", "detail"} & {*error} else {"error": error}


@BOTH
@pytest.mark.parametrize(("status", "error"), OVERFLOWS.values(), ids=OVERFLOWS)
@pytest.mark.parametrize("max_tokens", [20, 32_768])
async def test_a_conversation_that_is_too_long_is_one_error_after_one_request(
    status: int, error: Any, max_tokens: int, asynchronously: bool
) -> None:
    server = Server(lambda: httpx2.Response(status, json=body_of(error)))
    with pytest.raises(ContextOverflowError):
        await send(server.backend(**CHAT), max_tokens, asked(), asynchronously=asynchronously)
    assert len(server.requests) == 1


@BOTH
async def test_an_error_in_the_stream_may_say_it_too(asynchronously: bool) -> None:
    broken = event('{"error": {"message": "the request exceeds the available context size", "code": 400}}')
    server = Server(lambda: sse(broken))
    with pytest.raises(ContextOverflowError):
        await send(server.backend(**CHAT), 20, asked(), asynchronously=asynchronously)
    assert len(server.requests) == 1


@BOTH
@pytest.mark.parametrize(("status", "error"), OVERFLOWS.values(), ids=OVERFLOWS)
async def test_a_chat_model_says_it_with_the_same_error(status: int, error: Any, asynchronously: bool) -> None:
    server = Strict(lambda _: body_of(error), status)
    with pytest.raises(ContextOverflowError):
        await send(chat_openai(server), 20, asked(), asynchronously=asynchronously)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "said"), [(None, "prompt is too long: 9 tokens"), (413, "no")])
def test_a_chat_model_without_a_response_says_it_too(status: int | None, said: str) -> None:
    class RefusedError(Exception):
        status_code = status

    model = Plain(says=RefusedError(said))
    with pytest.raises(ContextOverflowError):
        list(ChatModelBackend(model).continue_turn(asked(), Request(20)))
    assert len(model.asked) == 1


OTHERS = {
    "a rate limit": (429, "Request too large for model: tokens per minute (TPM): Limit 6000, Requested 9000"),
    "a rate limit as a large entity": (413, "Request too large on tokens per minute (TPM): Limit 6000, Requested 9000"),
    "a wrong key": (401, "no key for context length 8"),
    "a large token limit": (400, "max_tokens is too large: 32768. This model supports at most 16384 completion tokens"),
    "a field with a name of TGI": (422, "Unknown parameter: 'inputs'. `inputs` is not permitted"),
    "a wrong field": (400, "Unsupported parameter: 'stop' is not supported with this model."),
}


@pytest.mark.parametrize(("status", "said"), OTHERS.values(), ids=OTHERS)
def test_other_refusals_say_nothing_about_the_length(status: int, said: str) -> None:
    assert not is_too_long(said, status)


ROOMS = {
    "vLLM": "'max_tokens' or 'max_completion_tokens' is too large: {limit}. This model's maximum context length is "
    "{context} tokens and your request has {prompt} input tokens ({limit} > {context} - {prompt}).",
    "vLLM, older": "This model's maximum context length is {context} tokens. However, you requested {total} tokens "
    "({prompt} in the messages, {limit} in the completion). Please reduce the length of the messages or completion.",
    "only the total": "This model's maximum context length is {context} tokens. However, you requested {total} tokens. "
    "Reduce max_tokens.",
    "SGLang": "Requested token count exceeds the model's maximum context length of {context} tokens. You requested a "
    "total of {total} tokens: {prompt} tokens from the input messages and {limit} tokens for the completion.",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= {context}. Given: {prompt} `inputs` "
    "tokens and {limit} `max_new_tokens`",
    "OpenRouter": "This endpoint's maximum context length is {context} tokens. However, you requested about {total} "
    "tokens ({prompt} of text input, {limit} in the output).",
    "Anthropic": "input length and `max_tokens` exceed context limit: {prompt} + {limit} > {context}, decrease input",
}


class Small(Server):
    """A server with a context of 4,096 tokens, of which a prompt takes 3,000.

    Args:
        words: How it refuses a request that does not fit.
        about: Further fields of the model in its list.
    """

    def __init__(self, words: str, **about: Any) -> None:
        super().__init__(lambda: sse(delta("stop", content="A")))
        self.words = words
        self.about = about

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        response = super().__call__(request)
        if request.method == "GET" or (limit := self.requests[-1][1]["max_tokens"]) <= 1096:
            return response
        said = self.words.format(limit=limit, context=4096, prompt=3000, total=3000 + limit)
        return httpx2.Response(400, json={"error": {"message": said}})

    def listing(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"data": [{"id": "big", "owned_by": "me", **self.about}]})


@BOTH
@pytest.mark.parametrize("words", ROOMS.values(), ids=ROOMS)
@pytest.mark.parametrize("limit", [1500, 2048, 32_768])
async def test_what_a_prompt_leaves_is_requested(words: str, limit: int, asynchronously: bool) -> None:
    server = Small(words)
    backend = server.backend(**CHAT)
    assert await send(backend, limit, asked(), asynchronously=asynchronously)
    assert [body["max_tokens"] for _, body in server.requests] == [limit, 1096]
    assert backend.capabilities.context == 4096
    assert backend.capabilities.request_tokens_max is None


def test_what_a_prompt_leaves_is_estimated_if_the_server_does_not_say_it() -> None:
    server = Small("Please reduce the length of the messages or completion.", context_window=4096)
    half = asked("word" * 3000)
    assert list(server.backend(**CHAT).continue_turn(half, Request(2048)))
    assert [body["max_tokens"] for _, body in server.requests] == [2048, 1096]


TOO_LARGE = {
    "Groq": "`max_tokens` must be less than or equal to `1096`, the maximum value for `max_tokens` is less than the "
    "`context_window` for this model",
    "no number": "max_tokens ({limit}) exceeds the model's context length",
}


@BOTH
@pytest.mark.parametrize("about", [{}, {"context_window": 131_072}], ids=["no context", "a longer context"])
@pytest.mark.parametrize("words", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_a_limit_that_is_too_large_for_the_context_is_halved(
    words: str, about: dict[str, int], asynchronously: bool
) -> None:
    server = Small(words, **about)
    assert await send(server.backend(**CHAT), 8192, asked(), asynchronously=asynchronously)
    assert [body["max_tokens"] for _, body in server.requests] == [8192, 4096, 2048, 1024]


def test_the_context_is_read_from_a_refusal_that_does_not_count_the_prompt() -> None:
    server = Small(
        "max_tokens={limit} cannot be greater than max_model_len=max_total_tokens={context}. Please request fewer "
        "output tokens."
    )
    backend = server.backend(**CHAT)
    assert list(backend.continue_turn(asked("word" * 3000), Request(32_768)))
    assert [body["max_tokens"] for _, body in server.requests] == [32_768, 1096]
    assert backend.capabilities.context == 4096


def test_a_prompt_that_leaves_nothing_is_one_request() -> None:
    server = Server(lambda: httpx2.Response(400, json={"error": {"message": says}}))
    says = ROOMS["vLLM"].format(limit=32_768, context=4096, prompt=5000)
    with pytest.raises(ContextOverflowError):
        list(server.backend(**CHAT).continue_turn(asked(), Request(32_768)))
    assert len(server.requests) == 1


def test_no_third_request_is_sent() -> None:
    server = Server(lambda: httpx2.Response(400, json={"error": {"message": says.pop(0)}}))
    says = [ROOMS["vLLM"].format(limit=2048, context=4096, prompt=3000 + place) for place in range(5)]
    with pytest.raises(ContextOverflowError):
        list(server.backend(**CHAT).continue_turn(asked(), Request(2048)))
    assert len(server.requests) == 2


def test_a_turn_ends_with_an_answer_although_the_estimate_of_its_prompt_is_too_long() -> None:
    """Three thousand tokens of long words look like more than the context holds."""
    server = Small(ROOMS["vLLM"], max_model_len=4096)
    pair = ChatSpeculativeThinking(speculative=server.backend(**CHAT), target=ScriptedBackend())
    first = pair.invoke("extraordinary" * 3000)
    second = pair.invoke("extraordinary" * 3000)  # now the context is known
    assert first.text == second.text == "A"
    assert second.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize(("exact", "fits"), [(True, 1), (False, 32_768)])
def test_a_context_that_seems_full_limits_a_turn_only_if_the_count_is_exact(exact: bool, fits: int) -> None:
    server = Small("", max_model_len=100)
    backend = server.backend(continuation="raw") if exact else server.backend(**CHAT)
    backend.profile.context = 100
    assert tokens_that_fit(asked("x" * 800), [backend], None) == fits


class LlamaServer(Server):
    """llama.cpp's server, whose list of models tells how the model was trained."""

    def __init__(self, properties: Callable[[], httpx2.Response]) -> None:
        super().__init__(lambda: sse(text("A", "stop")), owner="llamacpp")
        self.properties = properties

    def listing(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/props"):
            assert request.url.path == "/props"
            return self.properties()
        model = {"id": "big", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131_072}}
        return httpx2.Response(200, json={"data": [model]})


PROPERTIES: dict[str, tuple[Callable[[], httpx2.Response], int | None]] = {
    "the context of a slot": (
        lambda: httpx2.Response(200, json={"default_generation_settings": {"n_ctx": 2048}}),
        2048,
    ),
    "no settings": (lambda: httpx2.Response(200, json={}), None),
    "text": (lambda: httpx2.Response(200, text="ok"), None),
    "not there": (lambda: httpx2.Response(404, json={"error": {"message": "no"}}), None),
    "a context that is none": (
        lambda: httpx2.Response(200, json={"default_generation_settings": {"n_ctx": "x"}}),
        None,
    ),
}


@BOTH
@pytest.mark.parametrize(("properties", "context"), PROPERTIES.values(), ids=PROPERTIES)
async def test_the_context_of_a_slot_counts_and_not_that_of_the_training(
    properties: Callable[[], httpx2.Response], context: int | None, asynchronously: bool
) -> None:
    backend = LlamaServer(properties).backend(max_retries=0)
    assert await send(backend, 20, asked(), asynchronously=asynchronously)
    assert backend.capabilities.context == context


def test_the_doctor_asks_a_server_for_the_context_of_a_slot_that_was_too_busy_before() -> None:
    class Busy(LlamaServer):
        listings = 0

        def listing(self, request: httpx2.Request) -> httpx2.Response:
            self.listings += request.url.path.endswith("/models")
            return httpx2.Response(500) if self.listings == 1 else super().listing(request)

    backend = Busy(PROPERTIES["the context of a slot"][0]).backend(max_retries=0)
    found = examine(backend)
    assert (found.capabilities.engine, backend.capabilities.context) == ("llama.cpp", 2048)


@pytest.mark.parametrize("continuation", ["raw", "chat_flag"])
def test_the_doctor_fits_into_a_context_of_2048_tokens(continuation: Any) -> None:
    """Each character is a token here, so a story of a fixed number of sentences is long."""
    server = Server(lambda: sse(text("A"), text("B", "stop")))
    backend = server.backend(continuation=continuation)
    examine(backend)
    assert server.requests
    for _, body in server.requests:
        prompt = body.get("prompt") or "".join(message["content"] for message in body["messages"])
        assert backend.count_tokens(prompt) + body["max_tokens"] <= 2048


@given(said=st.text(alphabet="0123456789 ,()+>max_tokenspromptcontextlength<=", max_size=80), limit=st.integers(1, 99))
def test_any_words_are_read(said: str, limit: int) -> None:
    room_in(said, limit)
    is_too_long(said, None)

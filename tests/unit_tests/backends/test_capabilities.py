"""What is found out about a server, and what follows from it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.backends.openai.capabilities import ServerProfile
from langchain_spec_thinking.backends.openai.engines import (
    ENGINES,
    UNKNOWN,
    Engine,
    engine_by_owner,
    hosted_engine,
    require_complete,
)
from langchain_spec_thinking.backends.openai.probes import RawProbe, identify
from langchain_spec_thinking.backends.openai.request_form import RequestForm
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.continuation import (
    ChatFlag,
    ChatInstruct,
    ChatMark,
    ChatTrailing,
    Raw,
    Strategy,
)
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.services import Groq
from tests.unit_tests.wire import URL, Server, continued, delta, probe, refused, sse, text, turn

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.deepseek.com/beta", ChatMark("prefix", reasoning=True)),
        ("https://api.mistral.ai/v1", ChatMark("prefix")),
        ("https://api.moonshot.ai/v1", ChatMark("partial")),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", ChatMark("partial")),
        ("https://openrouter.ai/api/v1", ChatTrailing()),
        ("https://api.openai.com/v1", ChatInstruct()),
        ("https://me.openai.azure.com/openai/v1", ChatInstruct()),
    ],
)
def test_known_hosts_are_not_probed(url: str, expected: Strategy) -> None:
    profile = ServerProfile(url, "m")
    assert profile.is_ready()
    assert profile.strategy == expected


@pytest.mark.parametrize("url", ["https://api.openai.com.evil.test/v1", "http://127.0.0.1:8000/v1"])
def test_a_host_that_resembles_a_known_one_is_probed(url: str) -> None:
    assert hosted_engine(url) is None
    assert not ServerProfile(url, "m").is_ready()


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            Engine("Acme"),
            "Acme: expected its address in `hosts`, or the `owned_by` of its models in `owners`, got none",
        ),
        (
            Engine("Acme", (ChatFlag(),), owners=("acme",)),
            r"Acme: expected ChatInstruct\(\) at the end of `strategies`",
        ),
        (Engine("Acme", (), owners=("acme",)), r"Acme: expected ChatInstruct\(\) at the end of `strategies`, got \(\)"),
        (Engine("Acme", owners=("vllm",)), "Acme: expected a host or owner of its own, but vLLM has 'vllm' too"),
        (
            Engine("Acme", hosts=("api.groq.com",)),
            "Acme: expected a host or owner of its own, but Groq has 'api.groq.com'",
        ),
    ],
)
def test_an_engine_that_can_never_be_used_is_refused(engine: Engine, message: str) -> None:
    require_complete(ENGINES)
    with pytest.raises(TypeError, match=message):
        require_complete((*ENGINES, engine))


@pytest.mark.parametrize("engine", ENGINES, ids=[engine.name for engine in ENGINES])
def test_every_engine_is_found(engine: Engine) -> None:
    assert all(hosted_engine(f"https://{prefix}{host}/v1") is engine for host in engine.hosts for prefix in ("", "eu."))
    assert all(engine_by_owner(owner) is engine for owner in engine.owners)


@pytest.mark.parametrize("owner", [engine.owners[0] for engine in ENGINES if engine.owners])
def test_an_engine_that_is_known_by_name_is_asked_how_it_continues(owner: str) -> None:
    """Whether a reply is continued depends on the model's chat template, which may trim the reply or begin anew."""
    engine = engine_by_owner(owner)
    probes = [probe("Sure! The")] * (len(engine.strategies) - 1)
    server = Server(*probes, lambda: sse(delta(content="A", reason="stop")), owner=owner)
    backend = server.backend(tokenizer=None)
    assert continued(backend, turn("So"))[0] == "A"
    assert backend.capabilities.continuation == "chat_instruct"
    assert backend.capabilities.limitation


class Listed(Server):
    """A server that takes the answer to a listing from the list of answers, and records listings too."""

    def listing(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append((request.url.path, {}))
        if isinstance(self.answers[0], Exception):
            raise self.answers[0]
        return super().listing(request)


@pytest.mark.parametrize(
    ("owner", "engine", "numbered"),
    [("vllm", "vLLM", True), ("sglang", "SGLang", True), ("acme", UNKNOWN.name, False), ("", UNKNOWN.name, False)],
)
def test_an_engine_is_identified_by_the_owner_of_its_models(owner: str, engine: str, numbered: bool) -> None:
    server = Listed(probe(" yellow. The"), lambda: sse(delta(content="A", reason="stop")), owner=owner)
    backend = server.backend(tokenizer=None)
    assert [continued(backend, turn("So"))[0] for _ in range(2)] == ["A", "A"]
    assert backend.profile.engine.name == engine
    paths = [path for path, _ in server.requests]
    assert paths == ["/v1/models", *["/v1/chat/completions"] * 3]
    assert server.requests[-1][1]["continue_final_message"]
    assert ("continuous_usage_stats" in server.requests[-1][1]["stream_options"]) == numbered


async def test_a_server_is_probed_once_for_all_backends() -> None:
    server = Listed(probe(" yellow. The"), lambda: sse(delta(content="A", reason="stop")))

    async def write(backend: OpenAIBackend) -> None:
        async for _ in backend.acontinue_turn(turn("So"), Request(5)):
            pass

    shared = server.backend(tokenizer=None)
    await asyncio.gather(*[write(shared) for _ in range(20)])
    await write(server.backend(tokenizer=None))
    continued(server.backend(tokenizer=None))
    assert [path for path, _ in server.requests].count("/v1/models") == 1
    assert len([body for _, body in server.requests if body.get("max_tokens") == 4]) == 1


def test_a_strategy_found_without_a_tokenizer_does_not_apply_to_a_backend_with_one() -> None:
    server = Server(probe("Sure!"), probe("Sure!"), lambda: sse(delta("stop", content="A")))
    poor = server.backend(tokenizer=None)
    assert continued(poor, turn("So"))[0] == "A"
    server.answers = [lambda: sse(text("A", "stop"))]
    rich = server.backend()
    assert continued(rich, turn("So"))[0] == "A"
    assert (poor.describe()["continuation"], rich.describe()["continuation"]) == ("chat_instruct", "raw")


def test_a_prompt_refused_during_a_turn_leads_to_the_next_strategy() -> None:
    server = Server(sse(text("A", "stop")), refused(400, "no completions"), lambda: sse(delta("stop", content="B")))
    backend = server.backend()
    assert [continued(backend, turn("So"))[0] for _ in range(3)] == ["A", "B", "B"]
    assert [path for path, _ in server.requests] == ["/v1/completions"] * 2 + ["/v1/chat/completions"] * 2
    assert backend.describe()["continuation"] == "chat_flag"


def test_each_model_on_a_server_is_probed() -> None:
    first, second = ServerProfile(URL, "one"), ServerProfile(URL, "two")
    first.strategy = ChatTrailing()
    assert (ServerProfile(URL, "one").strategy, second.strategy) == (ChatTrailing(), None)


@pytest.mark.parametrize(
    "listing", [lambda: httpx2.Response(404), lambda: httpx2.Response(200, text="<html>"), lambda: httpx2.Response(500)]
)
def test_a_server_without_a_list_of_models_counts_as_unknown(listing: Callable[[], httpx2.Response]) -> None:
    class Mute(Server):
        def listing(self, request: httpx2.Request) -> httpx2.Response:
            self.requests.append(("listing", {}))
            return listing()

    server = Mute(probe(" yellow. The"), lambda: sse(delta(content="A", reason="stop")))
    backend = server.backend(tokenizer=None)
    assert [continued(backend, turn("So"))[0] for _ in range(2)] == ["A", "A"]
    assert [path for path, _ in server.requests].count("listing") == 1
    assert backend.profile.engine == UNKNOWN


def test_an_unreachable_server_is_probed_again_later() -> None:
    server = Listed(httpx2.ConnectError("refused"), owner="vllm")
    backend = server.backend(tokenizer=None, max_retries=0)
    with pytest.raises(BackendError):
        continued(backend)
    server.answers = [probe(" yellow. The"), lambda: sse(delta(content="A", reason="stop"))]
    assert continued(backend)[0] == "A"
    assert backend.describe()["continuation"] == "chat_flag"


def bad_request(says: str, status: int = 400) -> openai.BadRequestError:
    response = httpx2.Response(status, request=httpx2.Request("POST", URL))
    return openai.BadRequestError(says, response=response, body=None)


def test_turns_refused_at_the_same_time_change_the_strategy_once() -> None:
    profile = ServerProfile(URL, "m")
    profile.strategy = ChatFlag()
    forms = [RequestForm(profile, turn("So"), Request(5), {}, lambda: 0) for _ in range(3)]
    for form in forms:
        form.build()
    for form in forms:
        form.change_after(bad_request("no prefill"))
        form.build()
        form.accepted()
    assert profile.strategy == ChatTrailing()


def test_a_request_that_is_cancelled_changes_no_strategy() -> None:
    profile = ServerProfile(URL, "m")
    profile.strategy = ChatFlag()
    form = RequestForm(profile, turn("So"), Request(5), {}, lambda: 0)
    form.build()
    form.change_after(bad_request("no prefill"))
    payload, _ = form.build()
    assert payload == ChatTrailing().payload(turn("So")).for_server(repeats=False)
    assert profile.strategy == ChatFlag()


def test_requests_are_short_if_a_service_bills_after_a_hang_up() -> None:
    story = " ".join(map(str, range(800)))
    service = Groq(story)
    model = ChatSpeculativeThinking(speculative=service.backend(), target=ScriptedBackend("Never."), max_tokens=600)
    assert model.invoke("Count.").text == " ".join(map(str, range(600)))
    assert [body["max_tokens"] for body in service.accepted] == [256, 256, 600 - 2 * 256]


def completion(prompt_tokens: int | None) -> httpx2.Response:
    usage = {} if prompt_tokens is None else {"usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 1}}
    return httpx2.Response(200, json={"choices": [{"index": 0, "text": "e", "finish_reason": "length"}], **usage})


@pytest.mark.parametrize(
    ("excess", "strategy"), [(0, "raw"), (None, "raw"), (1, "chat_flag"), (40, "chat_flag"), ("404", "chat_flag")]
)
def test_an_unknown_server_is_probed_for_raw_prompts(excess: Any, strategy: str) -> None:
    """The number of prompt tokens that the server counts decides, if it counts any."""
    tokenizer = tiny.byte_tokenizer()
    raw = Raw(ChatTemplate(tokenizer))
    sent = len(tokenizer(RawProbe("big", raw)._body["prompt"])["input_ids"])  # noqa: SLF001
    answers = {"404": lambda: httpx2.Response(404), None: lambda: completion(None)}
    answer = answers[excess] if excess in answers else lambda: completion(sent + excess)
    rest = (
        [lambda: sse(text("A", "stop"))] if strategy == "raw" else [probe(" yellow"), lambda: sse(delta(content="A"))]
    )
    server = Server(answer, *rest, owner="acme")
    first, second = (server.backend() for _ in range(2))
    assert [continued(backend, turn("So"))[0] for backend in (first, second)] == ["A", "A"]
    assert (first.describe()["continuation"], second.describe()["continuation"]) == (strategy, strategy)
    assert len(server.requests) == 2 + len(rest)


def test_no_raw_prompt_is_sent_to_a_server_that_wraps_prompts() -> None:
    """Ollama's completions endpoint wraps the prompt into a user message."""
    server = Server(probe(" yellow"), sse(delta(content="A", reason="stop")), owner="library")
    backend = server.backend()
    assert continued(backend, turn("So"))[0] == "A"
    assert backend.describe()["continuation"] == "chat_trailing"


@pytest.mark.parametrize(
    ("card", "context"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"meta": {"n_ctx": 8192}}, 8192),
        ({"meta": {"n_ctx_train": 8192}}, None),
        ({"context_length": 5}, 5),
        ({}, None),
    ],
)
def test_the_context_is_read_from_the_list_of_models(card: dict[str, Any], context: int | None) -> None:
    cards = [SimpleNamespace(id="other", max_model_len=1), SimpleNamespace(id="big", owned_by="vllm", **card)]
    assert identify(cards, "big")[1] == context

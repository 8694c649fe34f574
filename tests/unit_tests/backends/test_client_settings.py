"""Settings of the client, as `ChatOpenAI` takes them: keys, addresses, headers, queries, timeouts."""

from __future__ import annotations

import asyncio
import json
import threading
import traceback
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from pydantic import SecretStr, ValidationError

from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend
from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.backends.diagnosis import Diagnosis
from langchain_spec_thinking.backends.openai.errors import AuthenticationBackendError
from langchain_spec_thinking.backends.redaction import Redactor
from langchain_spec_thinking.backends.specs import backend_of
from langchain_spec_thinking.errors import BackendError, ContinuationError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.wire import Handler, delta, probe, sse, turn

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
DEADLINE = 60.0


class Listening(Handler):
    """A server of llama.cpp's kind that answers every request, and records it.

    Args:
        refuses: Whether it refuses a reply and quotes the key.
    """

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.seen: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        if request.url.path.endswith("/models"):
            return httpx2.Response(200, json={"data": [{"id": "big", "object": "model", "owned_by": "llamacpp"}]})
        if request.url.path.endswith("/props"):
            return httpx2.Response(200, json={"default_generation_settings": {"n_ctx": 4096}})
        if self.refuses:
            return httpx2.Response(401, json={"error": {"message": f"wrong: {request.headers['authorization']}"}})
        if not json.loads(request.content).get("stream"):
            return probe(" yellow. The banana")()
        return sse(delta("stop", content="A"))

    def backend(self, **settings: Any) -> OpenAIBackend:
        clients = {
            "http_client": httpx2.Client(transport=httpx2.MockTransport(self)),
            "http_async_client": httpx2.AsyncClient(transport=httpx2.MockTransport(self.acall)),
        }
        return OpenAIBackend("big", **{"base_url": "http://server.test/v1", "max_retries": 0, **clients, **settings})

    def sent(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request in self.seen]


async def ask(backend: OpenAIBackend, *, asynchronously: bool) -> None:
    """Continue a half-written reply, which needs all probes."""
    half, request = turn("The banana"), Request(20)
    if not asynchronously:
        list(backend.continue_turn(half, request))
        return
    async with asyncio.timeout(DEADLINE):
        async for _ in backend.acontinue_turn(half, request):
            pass


# -- keys


class Keys:
    """Returns another key at each call."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.threads: list[threading.Thread] = []

    def __call__(self) -> Any:
        self.threads.append(threading.current_thread())
        key = self.keys.pop(0)
        if isinstance(key, Exception):
            raise key
        return key

    async def acall(self) -> Any:
        await asyncio.sleep(0)
        return self()

    def later(self) -> Any:
        return self.acall()


NAMES = [f"sk-secret-number-{number}" for number in range(4)]


@pytest.mark.parametrize("wrap", [str, SecretStr], ids=["str", "SecretStr"])
@BOTH
async def test_a_function_is_asked_for_each_request(wrap: Callable[[str], Any], asynchronously: bool) -> None:
    server, keys = Listening(), Keys(*map(wrap, NAMES))
    await ask(server.backend(api_key=keys), asynchronously=asynchronously)
    assert [request.url.path for request in server.seen] == [
        *("/v1/models", "/props", "/v1/chat/completions", "/v1/chat/completions")
    ]
    assert server.sent("authorization") == [f"Bearer {name}" for name in NAMES]


@pytest.mark.parametrize("way", ["acall", "later"], ids=["an asynchronous function", "a function that returns a task"])
async def test_an_asynchronous_function_is_asked_for_each_request(way: str) -> None:
    server, keys = Listening(), Keys(*NAMES)
    await ask(server.backend(api_key=getattr(keys, way)), asynchronously=True)
    assert server.sent("authorization") == [f"Bearer {name}" for name in NAMES]


async def test_a_function_that_waits_does_not_keep_the_event_loop_waiting() -> None:
    server, keys = Listening(), Keys(*NAMES)
    await ask(server.backend(api_key=keys), asynchronously=True)
    assert threading.current_thread() not in keys.threads


def test_a_blocking_call_cannot_ask_an_asynchronous_function() -> None:
    keys = Keys(*NAMES)
    for function in (keys.acall, keys.later):
        server = Listening()
        backend = server.backend(api_key=function)
        with pytest.raises(ContinuationError, match=r"^big at http://server.test/v1: .*asynchronous.*Use `ainvoke`"):
            list(backend.continue_turn(turn(), Request(5)))
        assert not server.seen
    assert Listening().backend(api_key=keys.acall).prefetch(turn()) is None
    assert Listening().backend(api_key=keys.acall).capabilities.prefetches is False


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (OSError("no token service"), "the function `api_key` failed: OSError: no token service"),
        (None, "expected the function `api_key` to return a text, got NoneType"),
        ("", "no API key"),
        ("sk-ключ", "the function `api_key` returned a key that cannot be sent: .*position 3"),
    ],
    ids=["an error", "no text", "an empty text", "a text that no header can hold"],
)
@BOTH
async def test_a_function_without_a_key_is_an_error(key: Any, message: str, asynchronously: bool) -> None:
    server = Listening()
    with pytest.raises(ContinuationError, match=f"^big at http://server.test/v1: {message}") as caught:
        await ask(server.backend(api_key=Keys(key)), asynchronously=asynchronously)
    assert not server.seen  # the turn does not count as one of an unknown server
    assert "ключ" not in "".join(traceback.format_exception(caught.value))


async def test_an_error_of_an_asynchronous_function_is_one_of_ours() -> None:
    with pytest.raises(ContinuationError, match="the function `api_key` failed: OSError: gone"):
        await ask(Listening().backend(api_key=Keys(OSError("gone")).acall), asynchronously=True)


@BOTH
async def test_no_key_that_a_function_returned_is_shown(asynchronously: bool) -> None:
    backend = Listening(refuses=True).backend(api_key=Keys(*NAMES), continuation="chat_flag")
    backend.profile.strategy = backend.profile.strategies[0]
    with pytest.raises(AuthenticationBackendError) as caught:
        await ask(backend, asynchronously=asynchronously)
    shown = "".join(traceback.format_exception(caught.value)) + str(vars(caught.value)) + repr(backend)
    shown += json.dumps(backend.describe())
    assert "wrong: " in shown
    assert "secret-number" not in shown


def test_an_error_of_a_function_shows_no_earlier_key() -> None:
    keys = Keys(NAMES[0], NAMES[1], NAMES[2], NAMES[3], OSError(f"{NAMES[3]} has expired"))
    backend = Listening().backend(api_key=keys)
    list(backend.continue_turn(turn("The banana"), Request(5)))
    with pytest.raises(ContinuationError, match=r"OSError: \*\*\* has expired") as caught:
        list(backend.continue_turn(turn("The banana"), Request(5)))
    assert "secret-number" not in "".join(traceback.format_exception(caught.value))


def test_the_most_recent_secrets_are_hidden() -> None:
    redactor = Redactor([])
    for number in range(40):
        redactor.learn(f"{number:02}abcdefgh"[::-1])
        redactor.learn("always used")
    assert redactor.text("always used") == "***"
    assert redactor.text("hgfedcba93") == "***"
    assert len(redactor._learned) == 16  # noqa: SLF001 - keys that change every minute must not fill the memory


# -- addresses


GATEWAY = "https://gateway.test/v1"


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "https://api.openai.com/v1"),
        ({"OPENAI_API_BASE": GATEWAY}, GATEWAY),
        ({"OPENAI_BASE_URL": GATEWAY}, GATEWAY),
        ({"OPENAI_API_BASE": GATEWAY, "OPENAI_BASE_URL": "https://other.test/v1"}, GATEWAY),
        ({"OPENAI_API_BASE": "", "OPENAI_BASE_URL": GATEWAY}, GATEWAY),
    ],
    ids=str,
)
@BOTH
async def test_the_address_in_the_environment_is_used(
    environment: dict[str, str], url: str, asynchronously: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, OPENAI_API_KEY="sk-mine", **environment)
    server = Listening()
    backend = server.backend(base_url=None)
    await ask(backend, asynchronously=asynchronously)
    assert backend.describe()["base_url"] == url
    assert {str(request.url.host) for request in server.seen} == {httpx2.URL(url).host}
    assert set(server.sent("authorization")) == {"Bearer sk-mine"}


def use(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """Set the variables of OpenAI's clients, and no others of them."""
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("spec", "url", "key"),
    [
        ("openai:m", GATEWAY, "sk-mine"),
        ("openai:org/m", GATEWAY, "sk-mine"),
        ("openai:m@https://api.openai.com/v1", "https://api.openai.com/v1", "sk-mine"),
        ("openai:m@https://api.openai.com/v1/", "https://api.openai.com/v1/", "sk-mine"),
        ("openai:m@http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", "none"),
    ],
)
def test_the_address_in_a_name_comes_first(spec: str, url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, OPENAI_BASE_URL=GATEWAY, OPENAI_API_KEY="sk-mine")
    backend = backend_of(spec)
    assert isinstance(backend, OpenAIBackend)
    assert backend.describe()["base_url"] == url
    assert backend._api_key.get_secret_value() == key  # type: ignore[union-attr]  # noqa: SLF001


def test_a_name_without_any_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)
    with pytest.raises(ValueError, match=r"expected openai:NAME@URL.*set OPENAI_API_BASE or OPENAI_BASE_URL"):
        backend_of("openai:m")


QUERIES = {
    "one": ({"base_url": "http://h/v1?api-version=2026-01-01"}, ["api-version=2026-01-01"]),
    "repeated": ({"base_url": "http://h/v1?tag=a&v=1&tag=b"}, ["tag=a", "tag=b", "v=1"]),
    "empty and quoted": ({"base_url": "http://h/v1?flag=&k=a%2Fb%20c"}, ["flag=", "k=a/b c"]),
    "default_query": ({"base_url": "http://h/v1", "default_query": {"v": "1", "n": 2}}, ["n=2", "v=1"]),
    "both": ({"base_url": "http://h/v1?v=1&w=2", "default_query": {"v": "3"}}, ["v=3", "w=2"]),
}


@pytest.mark.parametrize(("settings", "expected"), QUERIES.values(), ids=QUERIES)
@BOTH
async def test_a_query_is_part_of_every_request(
    settings: dict[str, Any], expected: list[str], asynchronously: bool
) -> None:
    server = Listening()
    backend = server.backend(api_key="k", **settings)
    await ask(backend, asynchronously=asynchronously)
    if not asynchronously:
        backend.diagnose(Diagnosis("big", thinks=False, capabilities=backend.capabilities))
    assert {request.url.path for request in server.seen} >= {"/v1/models", "/props", "/v1/chat/completions"}
    for request in server.seen:
        assert sorted(f"{name}={value}" for name, value in request.url.params.multi_items()) == expected


# -- headers


HEADERS = {"X-Team": "blue", "X-Gateway-Token": "gw-0123456789"}


@BOTH
async def test_further_headers_are_part_of_every_request(asynchronously: bool) -> None:
    server = Listening()
    backend = server.backend(api_key="k", default_headers={**HEADERS, "accept-encoding": "gzip"})
    await ask(backend, asynchronously=asynchronously)
    assert len(server.seen) == 4
    for name, value in {**HEADERS, "accept-encoding": "identity", "authorization": "Bearer k"}.items():
        assert set(server.sent(name)) == {value}  # a compressed reply would be refused


@pytest.mark.parametrize("key", ["k", lambda: "k"], ids=["a text", "a function"])
@pytest.mark.parametrize("url", ["http://server.test/v1", "http://me:pass@server.test/v1"])
def test_a_header_of_the_user_replaces_the_key(key: Any, url: str) -> None:
    server = Listening()
    backend = server.backend(api_key=key, base_url=url, default_headers={"authorization": "Token t-12345"})
    list(backend.continue_turn(turn(), Request(5)))
    assert set(server.sent("authorization")) == {"Token t-12345"}


def test_the_password_of_an_address_replaces_the_key_of_a_function() -> None:
    server = Listening()
    list(server.backend(api_key=lambda: "k", base_url="http://me:pass@h/v1").continue_turn(turn(), Request(5)))
    assert set(server.sent("authorization")) == {"Basic bWU6cGFzcw=="}


@pytest.mark.parametrize("headers", [{"X": "sk-ключ"}, {"X": 5}, {"X": "sk-a\nb"}, {"X\n": "sk-a"}])
def test_a_header_that_cannot_be_sent_is_refused_and_not_shown(headers: Any) -> None:
    with pytest.raises(ValueError, match=r"^default_headers: expected names and values of printable ASCII") as caught:
        Listening().backend(default_headers=headers)
    assert "sk-" not in str(caught.value)


def test_headers_and_queries_are_told_apart_and_not_shown() -> None:
    different: list[dict[str, Any]] = [
        *({"default_headers": {"X-Gateway-Token": token}} for token in ("gw-0123456789", "gw-abcdefghij")),
        *({"default_query": {"v": version}} for version in ("2026-01-01", "2026-02-02")),
        {"base_url": "http://server.test/v1?v=2026-01-01"},
        {},
    ]
    backends = [Listening().backend(api_key="k", **settings) for settings in different]
    described = [json.dumps(backend.describe()) for backend in backends]
    assert len({*described}) == len(different)
    assert not any(shown in text for text in described for shown in ("gw-0", "gw-a", "2026"))
    assert len({id(backend.profile.refused_fields) for backend in backends}) == len(different)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.example.org/v1", False),
        ("https://notapi.openai.com/v1", False),
        (GATEWAY, False),
    ],
)
@BOTH
async def test_the_ids_of_the_organization_go_to_openai_alone(
    url: str, sent: bool, asynchronously: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, OPENAI_ORG_ID="org-1", OPENAI_PROJECT_ID="proj-1")
    server = Listening()
    await ask(server.backend(api_key="k", base_url=url), asynchronously=asynchronously)
    assert server.seen
    assert set(server.sent("openai-organization")) == {"org-1" if sent else None}
    assert set(server.sent("openai-project")) == {"proj-1" if sent else None}


@pytest.mark.parametrize(
    ("url", "named", "sent"),
    [
        ("https://api.openai.com/v1", None, True),
        (GATEWAY, GATEWAY, True),
        (GATEWAY, None, False),
        ("http://stranger.test/v1", GATEWAY, False),
    ],
)
@BOTH
async def test_the_headers_of_the_environment_go_to_its_host_alone(
    url: str, named: str | None, sent: bool, asynchronously: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, **({"OPENAI_BASE_URL": named} if named else {}))
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway-Key: gw-secret-1")
    server = Listening()
    backend = server.backend(api_key="k", base_url=url, default_headers={"X-Mine": "1"})
    await ask(backend, asynchronously=asynchronously)
    assert set(server.sent("x-gateway-key")) == {"gw-secret-1" if sent else None}
    assert set(server.sent("x-mine")) == {"1"}
    assert "gw-secret-1" not in backend._redactor.text("the header gw-secret-1")  # noqa: SLF001


# -- timeouts


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (None, 120),
        (7, 7),
        (httpx.Timeout(7), 7),
        (httpx2.Timeout(7), 7),
        (httpx2.Timeout(60, read=7, connect=2), 7),
        (httpx2.Timeout(None), 120),
        (httpx2.Timeout(60, read=None), 120),
    ],
    ids=str,
)
def test_a_timeout_of_an_http_client_limits_the_silence(timeout: Any, seconds: float) -> None:
    assert Listening().backend(timeout=timeout).timeout == seconds


@pytest.mark.parametrize("silence", [None, httpx2.Timeout(None)], ids=str)
@BOTH
async def test_a_turn_has_a_deadline_even_without_a_timeout_of_the_server(silence: Any, asynchronously: bool) -> None:
    class Slow(Listening):
        def __call__(self, request: httpx2.Request) -> httpx2.Response:
            now[0] += 100
            return super().__call__(request)

    now = [0.0]
    model = ChatSpeculativeThinking(
        speculative=Slow().backend(timeout=silence, api_key="k"), target=ScriptedBackend("x"), timeout=50
    )
    object.__setattr__(model._clock, "now", lambda: now[0])  # noqa: SLF001
    with pytest.raises(BackendError, match="50"):
        await (model.ainvoke("x") if asynchronously else asyncio.to_thread(model.invoke, "x"))


def test_a_timeout_of_an_http_client_is_no_deadline_of_a_turn() -> None:
    with pytest.raises(ValidationError, match=r"(?s)timeout.*seconds of a whole turn.*OpenAIBackend\(timeout="):
        ChatSpeculativeThinking(speculative=ScriptedBackend(), target=ScriptedBackend(), timeout=httpx2.Timeout(5))  # type: ignore[arg-type]

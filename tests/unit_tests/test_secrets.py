"""No secret leaves the program by any way out: not the key, nor credentials in the address or in further fields.

A server quotes the secrets in its errors, in one form after the other. Each test looks at what one way out shows.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import html
import json
import logging
import pickle
import re
import threading
import traceback
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.load import dumps
from langchain_core.tracers import BaseTracer
from langchain_openai import ChatOpenAI
from pydantic import SecretStr, ValidationError

from langchain_spec_thinking import ChatModelBackend, ChatSpeculativeThinking, OpenAIBackend, Trace, recording
from langchain_spec_thinking.backends.clean_errors import chain_of, remove_secrets
from langchain_spec_thinking.backends.local.backend import HuggingFaceBackend
from langchain_spec_thinking.backends.openai.errors import AuthenticationBackendError, RedirectBackendError
from langchain_spec_thinking.backends.redaction import HIDDEN, Redactor, fingerprint, public_url, without_credentials
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.cli.doctor import report
from langchain_spec_thinking.errors import BackendError, CircuitOpenError, StreamCutError, TurnTimeoutError
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests.backends import tiny
from tests.unit_tests.openai_server import ASKED, http
from tests.unit_tests.test_otel import Collector
from tests.unit_tests.wire import delta, sse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message
    from pathlib import Path

    from langchain_core.tracers.schemas import Run

    from langchain_spec_thinking.backends.base import Backend

SECRETS = {
    "the key": 'sk-proj-Ab9/x+Qz71"LmTr=Kq8Z',
    "a secret in extra_body": "usr_7f3e9aQ/v+al<Jw4Y",
    "the password in the address": "p4ss/w0rd+9Zk&Hn2X",
    "the query of the address": "tok7-Zx/81+kk=Gb6V",
}
KEY, EXTRA, PASSWORD, QUERY = SECRETS.values()
URL = f"http://me:{quote(PASSWORD, safe='')}@server.test/v1?token={quote(QUERY, safe='')}"

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "in an address": lambda secret: quote(secret, safe=""),
    "in an address, in lower case": lambda secret: quote(secret, safe="").lower(),
    "in a form": quote_plus,
    "in base64": lambda secret: base64.b64encode(f"Bearer {secret}".encode()).decode(),
    "in base64 for addresses": lambda secret: base64.urlsafe_b64encode(f"me:{secret}".encode()).decode(),
    "escaped as JSON": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "escaped as HTML": html.escape,
    "in hexadecimal digits": lambda secret: secret.encode().hex(),
    "cut off": lambda secret: secret[:13],
    "with a line break inside": lambda secret: f"{secret[:10]}\n{secret[10:]}",
    "masked by dots": lambda secret: f"{secret[:7]}...{secret[-4:]}",
    "masked by stars": lambda secret: f"{secret[:7]}************{secret[-4:]}",
    "masked by letters": lambda secret: f"xxxxxxxx{secret[-4:]}",
    "only its last characters": lambda secret: f"it ends in {secret[-4:]}",
}


class QuotingServer:
    """Refuses every request, and quotes the secrets in the message, the fields and the headers.

    It also quotes them after more than 300 characters and across this length, at which messages are cut off.
    """

    def __init__(self, form: str, status: int = 401) -> None:
        self.quoted = [FORMS[form](secret) for secret in SECRETS.values()]
        self.status = status

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if self.status == 0:
            raise httpx2.ConnectError(f"no route for {' '.join(self.quoted)} to {request.url}")
        said = " | ".join(self.quoted)
        error = {"message": f"bad: {said}", "type": self.quoted[0], "code": self.quoted[0], "param": self.quoted[1]}
        body = {"error": {**error, "input": {said: [said, "." * (290 - len(said) // 2), said]}}, "detail": said}
        headers = {"x-ratelimit-note": quote(self.quoted[0]), "set-cookie": quote(self.quoted[1]), "retry-after": "0"}
        return httpx2.Response(self.status, json=body, headers=headers)

    async def acall(self, request: httpx2.Request) -> httpx2.Response:
        return self(request)

    def backend(self, **settings: Any) -> OpenAIBackend:
        return OpenAIBackend(
            "big",
            base_url=URL,
            api_key=KEY,
            extra_body={"user": {"id": EXTRA}},
            max_retries=0,
            continuation="chat_flag",
            http_client=httpx2.Client(transport=httpx2.MockTransport(self)),
            http_async_client=httpx2.AsyncClient(transport=httpx2.MockTransport(self.acall)),
            **settings,
        )

    def model(self) -> ChatSpeculativeThinking:
        """Return a pair whose small model fails, so that each turn raises an error."""
        return ChatSpeculativeThinking(speculative=self.backend(), target=ScriptedBackend("x"))

    def degraded(self) -> ChatSpeculativeThinking:
        """Return a pair whose large model fails, so that the report tells the error."""
        small = ScriptedBackend("A.\n\nWait, B.\n\nC.\n</think>\n\nD", thinks=True)
        return ChatSpeculativeThinking(speculative=small, target=self.backend())

    def error(self) -> BackendError:
        with pytest.raises(BackendError) as caught:
            self.model().invoke("x")
        return caught.value


# -- the ways out


def everything_in(error: BaseException) -> str:
    """Return the texts, attributes, requests and responses of an error and of all errors that led to it."""
    shown = []
    for found in chain_of(error):
        shown += [str(found), repr(found), repr(found.args), repr(vars(found))]
        request, response = vars(found).get("request"), vars(found).get("response")
        if request is not None:
            shown += [repr(request.headers.raw), repr(request.url), repr(request.content), str(vars(request))]
        if response is not None:
            shown += [repr(response.headers.raw), response.text, str(vars(response))]
    return "\n".join(shown)


class Tracer(BaseTracer):
    """Serializes runs as a tracing service would."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = ""

    def _persist_run(self, run: Run) -> None:
        self.shown += run.model_dump_json()


def traced(server: QuotingServer) -> str:
    tracer = Tracer()
    for model in (server.model(), server.degraded()):
        try:
            model.invoke("x", {"callbacks": [tracer]})
        except BackendError:
            continue
    return tracer.shown


def spans(server: QuotingServer) -> str:
    collector = Collector(texts=True)
    for model in (server.model(), server.degraded()):
        try:
            model.invoke("x", {"callbacks": [collector.handler]})
        except BackendError:
            continue
    return "".join(span.to_json() for span in collector.spans())


def recorded(server: QuotingServer) -> str:
    lines: list[str] = []
    with recording(lambda record: lines.append(record.to_json())):
        server.degraded().invoke("x")
        server.error()
    return "\n".join(lines)


def saved(server: QuotingServer) -> str:
    trace = Trace.of(server.degraded().invoke("x"))
    return trace.html() + json.dumps(trace.report.as_dict())


def logged(server: QuotingServer) -> str:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.name}: {handler.format(record)}")  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        server.degraded().invoke("x")
        logging.getLogger("application").error("failed", exc_info=server.error())
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return "\n".join(lines)


def diagnosed(server: QuotingServer) -> str:
    return json.dumps(report({"speculative": examine(server.backend()), "target": examine(server.backend())}))


def served(server: QuotingServer) -> str:
    """Return what the OpenAI-compatible server replies to its clients."""

    async def ask(client: httpx2.AsyncClient) -> str:
        replies = ""
        async with client:
            for stream in (False, True):
                response = await client.post(
                    "http://pair.test/v1/chat/completions",
                    json={**ASKED, "stream": stream, "stream_options": {"include_usage": True}},
                    headers={"Authorization": "Bearer sk-right"},
                )
                replies += response.text + str(response.headers)
        return replies

    import asyncio  # noqa: PLC0415 - only this way out needs a loop

    return "".join(asyncio.run(ask(http(model))) for model in (server.model(), server.degraded()))


WAYS_OUT: dict[str, Callable[[QuotingServer], str]] = {
    "the text of an error": lambda server: str(server.error()),
    "the repr of an error": lambda server: repr(server.error()),
    "the attributes of an error and of its causes": lambda server: everything_in(server.error()),
    "the traceback of an error": lambda server: "".join(traceback.format_exception(server.error())),
    "a pickled error": lambda server: pickle.dumps(server.error()).decode("latin-1"),
    "an unpickled error": lambda server: everything_in(pickle.loads(pickle.dumps(server.error()))),  # noqa: S301
    "a copied error": lambda server: everything_in(copy.copy(server.error())),
    "the repr of a backend": lambda server: repr(server.backend()) + str(server.backend()),
    "the repr of a model": lambda server: repr(server.model()) + str(server.model()),
    "a backend's description": lambda server: json.dumps(server.backend().describe()),
    "a backend's capabilities": lambda server: repr(server.backend().capabilities),
    "LangChain's dumps": lambda server: dumps(server.model()),
    "the key of cached answers": lambda server: json.dumps(server.model()._identifying_params),  # noqa: SLF001
    "a tracer": traced,
    "OpenTelemetry": spans,
    "log lines at level DEBUG": logged,
    "a record": recorded,
    "a saved turn and its page": saved,
    "spec-thinking doctor --json": diagnosed,
    "the OpenAI-compatible server": served,
}
_QUOTES_NOTHING = {
    *("the repr of a backend", "the repr of a model", "a backend's description", "a backend's capabilities"),
    *("LangChain's dumps", "the key of cached answers"),
}


def check_hidden(shown: str, quoted: list[str]) -> None:
    for name, secret in SECRETS.items():
        assert secret not in shown, name
        assert secret[4:16] not in shown, name
        assert secret[-4:] not in shown, name
        assert quote(secret, safe="") not in shown, name
    for text in quoted:
        assert text not in shown
        assert json.dumps(text)[1:-1] not in shown


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", [way for way in WAYS_OUT if way not in _QUOTES_NOTHING])
def test_a_secret_that_a_server_quotes_is_shown_nowhere(way: str, form: str) -> None:
    server = QuotingServer(form)
    shown = WAYS_OUT[way](server)
    assert shown
    check_hidden(shown, server.quoted)


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("status", [0, 307, 400, 403, 404, 422, 429, 500])
def test_no_way_out_shows_a_secret_after_any_failure(status: int, way: str) -> None:
    server = QuotingServer("as it is", status)
    check_hidden(WAYS_OUT[way](server), server.quoted)


def test_the_ways_out_show_what_the_server_said() -> None:
    """Otherwise the tests above could not fail."""
    server = QuotingServer("as it is")
    blind = {way for way in WAYS_OUT if way not in _QUOTES_NOTHING and HIDDEN not in WAYS_OUT[way](server)}
    assert blind == set()


# -- on the wire


class Loopback(ThreadingHTTPServer):
    """A server on loopback that records the requests and answers them with one word."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, Message, bytes]] = []
        self.redirects_to: str | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Loopback

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, self.headers, body))
        answer = b"".join(sse(delta("stop", content="A")).iter_bytes())
        target = self.server.redirects_to
        self.send_response(307 if target else 200)
        self.send_header("location", target or "")
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with _running() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Loopback]:
    with _running() as server:
        yield server


class _running:  # noqa: N801 - a context manager
    def __enter__(self) -> Loopback:
        self.server = Loopback()
        self.thread = threading.Thread(target=partial(self.server.serve_forever, poll_interval=0.01), daemon=True)
        self.thread.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def remote(place: str, **settings: Any) -> ChatSpeculativeThinking:
    backend = OpenAIBackend("m", base_url=place, api_key=KEY, continuation="chat_flag", max_retries=0, **settings)
    return ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend("x"))


@pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.enable_socket  # of this machine only
async def test_credentials_in_an_address_are_sent_and_not_logged(
    asynchronously: bool, loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    place = URL.replace("server.test", loopback.address)
    model = remote(place, extra_body={"user": EXTRA})
    message = await model.ainvoke("x") if asynchronously else model.invoke("x")
    assert message.text == "A"
    path, headers, body = loopback.seen[-1]
    assert path == f"/v1/chat/completions?token={quote_plus(QUERY)}"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == f"me:{PASSWORD}".encode()
    assert json.loads(body)["user"] == EXTRA
    logged = {record.name.partition(".")[0] for record in caplog.records if record.levelno == logging.DEBUG}
    assert {"openai", "httpcore2"} <= logged  # these log requests and headers
    assert f"http://{loopback.address}/v1/chat/completions" in caplog.text
    check_hidden(caplog.text + message.model_dump_json(), [])


@pytest.mark.parametrize("asynchronously", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize("own_client", [False, True], ids=["the SDK's client", "the user's client"])
@pytest.mark.enable_socket  # of this machine only
async def test_a_redirect_sends_no_text_to_another_host(
    asynchronously: bool, own_client: bool, loopback: Loopback, other: Loopback
) -> None:
    loopback.redirects_to = f"http://me:{PASSWORD[:4]}@{other.address}/v1/chat/completions?x={EXTRA}"
    clients: dict[str, Any] = {}
    if own_client:
        clients = {
            "http_client": httpx2.Client(follow_redirects=True),
            "http_async_client": httpx2.AsyncClient(follow_redirects=True),
        }
    model = remote(f"http://{loopback.address}/v1", **clients)
    with pytest.raises(RedirectBackendError) as caught:
        await model.ainvoke("x") if asynchronously else model.invoke("x")
    assert str(caught.value) == (
        f"m at http://{loopback.address}/v1: the server redirects to http://{other.address}/v1/chat/completions, and "
        "redirects are not followed. Set `base_url` to the new address if you trust it."
    )
    assert caught.value.status_code == 307
    assert other.seen == []


@pytest.mark.parametrize("location", ["", "/v2", "https://[", "\x7f", "x" * 5000, "//evil.test"])
def test_any_address_of_a_redirect_gives_a_short_error(location: str) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(308, headers={"location": location})

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with pytest.raises(BackendError, match="redirects to ") as caught:
        remote("http://server.test/v1", http_client=client).invoke("x")
    assert len(str(caught.value)) < 500


# -- what remains of an error


def test_an_error_keeps_what_is_useful() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        body = {
            "error": {"message": f"no key {KEY}", "code": "bad_key", "type": "auth_error", "param": "k", "n": [1, None]}
        }
        return httpx2.Response(
            401, json=body, headers={"x-request-id": f"r-{KEY}", "retry-after": "7", "set-cookie": "c"}
        )

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    with pytest.raises(AuthenticationBackendError) as caught:
        remote(URL, http_client=client).invoke("x")
    caught.value.thinking, caught.value.answer = "So far", "and so on"
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value)), copy.deepcopy(caught.value)):  # noqa: S301
        assert type(error) is AuthenticationBackendError
        assert re.fullmatch(  # openai 3.25 shows the whole body, with quotes
            r"m at http://server\.test/v1: .*401.*no key \*\*\*.*\bn'?: \[1, None\]\W+ Check `api_key`\.", str(error)
        )
        assert (error.status_code, error.code, error.type, error.param) == (401, "bad_key", "auth_error", "k")
        assert (error.request_id, error.body) == ("r-***", error_body()["error"])
        assert (error.thinking, error.answer, error.is_retryable) == ("So far", "and so on", False)
        assert (error.request.method, str(error.request.url)) == ("POST", "http://server.test/v1/chat/completions")
        assert (dict(error.request.headers), error.request.content) == (
            {"host": "server.test", "content-length": "0"},
            b"",
        )
        assert error.response.headers["retry-after"] == "7"
        assert "set-cookie" not in error.response.headers
        assert error.response.json() == error_body()


def error_body() -> dict[str, Any]:
    return {"error": {"message": "no key ***", "code": "bad_key", "type": "auth_error", "param": "k", "n": [1, None]}}


@pytest.mark.parametrize(
    "error",
    [BackendError("x"), StreamCutError("m", "u"), CircuitOpenError("m", 3, "x", 2.0), TurnTimeoutError(3)],
    ids=lambda error: type(error).__name__,
)
def test_every_error_can_be_pickled(error: BackendError) -> None:
    error.answer = "A"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


class OwnError(Exception):
    """An error of the user's program."""

    order: object = None


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "chat model", "no key"])
def test_an_error_that_the_caller_is_handling_stays_as_it_is(way: str) -> None:
    own, order = OwnError(f"paid with {KEY}"), object()
    own.order = order
    backend: Backend = QuotingServer("as it is").backend()
    if way == "chat model":
        backend = chat_openai()
    elif way == "no key":
        backend = OpenAIBackend("big", api_key="")
    model = ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend())
    try:
        raise own
    except OwnError:
        with pytest.raises(BackendError):
            asyncio.run(model.ainvoke("x")) if way == "ainvoke" else model.invoke("x")
    assert own.order is order
    assert own.args == (f"paid with {KEY}",)


def test_the_causes_of_an_error_are_cleaned_too() -> None:
    deepest = UnicodeEncodeError("ascii", KEY, 0, 1, "x")
    middle = ExceptionGroup("all failed", [ValueError(KEY), RuntimeError({KEY: [KEY]})])
    top = httpx2.ConnectError(
        KEY, request=httpx2.Request("POST", f"http://u:{quote(PASSWORD, safe='')}@h/{quote(KEY)}", headers={"a": KEY})
    )
    middle.__context__, top.__cause__, deepest.__context__ = deepest, middle, top
    top.add_note(KEY)
    top.secret = object()  # type: ignore[attr-defined]
    remove_secrets(top, Redactor(SECRETS.values()))
    assert len(list(chain_of(top))) == 5
    shown = everything_in(top) + str(vars(top.request))
    assert KEY not in shown
    assert PASSWORD not in shown


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown() -> None:
    for key in ("sk-abc…def", "sk-abc\ndef", "sk-abc\x7fdef"):
        with pytest.raises(ValueError, match="position 6") as caught:
            OpenAIBackend("m", base_url="http://server.test/v1", api_key=key)
        assert "abc" not in str(caught.value)


def test_the_name_of_a_model_with_a_password_is_not_repeated() -> None:
    for spec in (f"openai:m@http://me:{KEY}@h:x/v1?k={KEY}", f"openai:me:{KEY}@h/v1"):
        with pytest.raises(ValidationError) as caught:
            ChatSpeculativeThinking(speculative=spec, target=spec)
        assert f":{KEY}@h:x" not in str(caught.value)
        assert "input_value" not in str(caught.value)


# -- chat models of other packages


def chat_openai(form: str = "as it is", **settings: Any) -> ChatModelBackend:
    answer = QuotingServer(form)
    return ChatModelBackend(
        ChatOpenAI(
            model="m",
            api_key=SecretStr(KEY),
            base_url=URL,
            extra_body={"user": EXTRA},
            max_retries=0,
            http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
            **settings,
        )
    )


@pytest.mark.parametrize("form", FORMS)
def test_errors_of_a_chat_model_show_no_secret(form: str) -> None:
    model = ChatSpeculativeThinking(speculative=chat_openai(form), target=ScriptedBackend("x"))
    with pytest.raises(BackendError) as caught:
        model.invoke("x")
    shown = everything_in(caught.value) + "".join(traceback.format_exception(caught.value)) + repr(model)
    check_hidden(shown.replace("http://me:", ""), QuotingServer(form).quoted)


def test_a_chat_model_is_described_without_secrets() -> None:
    described = chat_openai(model_kwargs={"user": KEY, "metadata": {"a": PASSWORD}}, temperature=0.5).describe()
    check_hidden(json.dumps(described), [])
    assert described["settings"]["temperature"] == 0.5
    assert described["settings"]["model_name"] == "m"


# -- descriptions


def test_settings_that_differ_only_in_secrets_are_told_apart() -> None:
    """Otherwise a cache would mix up the answers of different settings."""

    def described(**settings: Any) -> str:
        return json.dumps(OpenAIBackend("m", **{"base_url": "http://h/v1", **settings}).describe())

    different = [
        described(),
        *(described(extra_body={"user": user}) for user in ("ab-1", "ab-2")),
        *(described(base_url=f"http://h/v1?v={version}") for version in (1, 2)),
    ]
    assert len(set(different)) == len(different)


def test_ordinary_settings_are_shown() -> None:
    further = {
        "provider": {"order": ["one"], "allow_fallbacks": False},
        "top_k": 20,
        "effort": "high",
        "api_key": "high",
    }
    described = OpenAIBackend("m", base_url="http://h/v1", extra_body=further).describe()["extra_body"]
    assert described == {**further, "api_key": f"*** {fingerprint('high')}"}


@pytest.mark.parametrize(
    "path", ["/home/me/private/qwen", "C:\\models\\private\\qwen", "./private/qwen", "~/private/qwen"]
)
def test_a_path_is_shown_as_its_last_part(path: str) -> None:
    backend = OpenAIBackend(path, base_url="http://h/v1")
    assert (backend.name, backend.model) == ("qwen", path)
    assert "private" not in repr(backend)
    assert backend.describe() != OpenAIBackend("/other/qwen", base_url="http://h/v1").describe()


def test_a_local_model_shows_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "private" / "qwen", tmp_path / "other" / "qwen"]
    for folder in folders:
        tiny.llama().save_pretrained(folder)
        tiny.byte_tokenizer("{{ raise_exception('no') }}").save_pretrained(folder)
    first, second = (HuggingFaceBackend(folder) for folder in folders)
    assert first.name == second.name == "qwen"
    assert first.describe() != second.describe()
    monkeypatch.chdir(tmp_path)
    assert HuggingFaceBackend("private/qwen").describe() == first.describe()
    model = ChatSpeculativeThinking(speculative=first, target=second)
    assert model.model_name == "qwen + qwen"
    with pytest.raises(BackendError, match=r"^qwen: the chat template refuses") as caught:
        model.invoke("x")
    shown = "".join(map(str, chain_of(caught.value))) + repr(model) + json.dumps(model._identifying_params)  # noqa: SLF001
    assert "private" not in shown
    assert str(tmp_path) not in shown


# -- the parts


WHOLE = [form for form in FORMS if not {*form.split()} & {"cut", "masked", "last", "break"}]


@given(secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60), data=st.data())
def test_every_long_part_of_a_secret_is_hidden(secret: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(secret) - 8))
    part = secret[start : data.draw(st.integers(start + 8, len(secret)))]
    quoted = FORMS[data.draw(st.sampled_from(WHOLE))](secret)
    shown = Redactor([secret]).text(f"\n{quoted}\n{part}\n")
    assert part not in shown
    assert quoted not in shown


@given(before=st.binary(max_size=8), secret=st.text(st.characters(codec="ascii"), min_size=12, max_size=40))
def test_base64_is_hidden_wherever_the_secret_begins(before: bytes, secret: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        shown = Redactor([secret]).text(encode(before + secret.encode() + b"end").decode())
        rest = shown.replace(HIDDEN, "")
        assert len(rest) <= (len(before) + len("end")) * 4 / 3 + 4  # at most two digits on each side belong to both


@given(text=st.text(max_size=200))
def test_a_text_without_a_secret_is_unchanged(text: str) -> None:
    assert Redactor([]).text(text) == text
    assert Redactor(["ab", ""]).text(text) == text


def test_ordinary_words_stay() -> None:
    said = "The model `big` does not exist, see https://docs.test/models. (tokens: 128000) İ ẞ"
    assert Redactor(SECRETS.values()).text(said) == said


@pytest.mark.parametrize("key", ["EMPTY", "ollama", "none"])
def test_a_key_that_everybody_uses_is_no_secret(key: str) -> None:
    said = f"the value must not be {key}"
    answer = httpx2.MockTransport(lambda _: httpx2.Response(400, json={"error": {"message": said}}))
    client = httpx2.Client(transport=answer)
    backend = OpenAIBackend(
        "big", base_url="http://h/v1", api_key=key, http_client=client, continuation="chat_flag", max_retries=0
    )
    with pytest.raises(BackendError, match=said):
        ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend()).invoke("x")


def test_a_long_text_takes_a_bounded_time() -> None:
    assert len(Redactor(SECRETS.values()).text("sk-proj-" * 10_000_000)) <= 20_000


@given(st.text(max_size=30), st.text(max_size=30))
def test_addresses_have_no_credentials(user: str, password: str) -> None:
    safe = f"{quote(user, safe='')}:{quote(password, safe='')}"
    assert public_url(f"https://{safe}@host:8/v1?{safe}#{safe}") == "https://host:8/v1"
    assert without_credentials(f"openai:m@https://{safe}@host:8/v1?{safe} x") == "openai:m@https://host:8/v1 x"

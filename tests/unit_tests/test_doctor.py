"""The doctor examines fake servers and models."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from langchain_core.language_models import FakeListChatModel
from rich.console import Console
from typer.testing import CliRunner

from langchain_spec_thinking import Backend, ChatModelBackend, pocket
from langchain_spec_thinking.backends.base import End, Event, Piece, Request, Usage
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.backends.diagnosis import Diagnosis
from langchain_spec_thinking.cli.commands import app
from langchain_spec_thinking.cli.diagnosis import examine
from langchain_spec_thinking.cli.doctor import expected_behaviour, recommendations, report, show
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.engines import VLLM, LlamaCppPython, Ollama, TransformersServe
from tests.unit_tests.providers.model import ANSWER
from tests.unit_tests.providers.services import DeepSeek, DeepSeekNotBeta, Groq, OpenRouter
from tests.unit_tests.wire import KEY, Server, refused, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from langchain_spec_thinking.turn import Turn
    from tests.unit_tests.providers.fake import Provider

TOKENIZER: dict[str, Any] = {"tokenizer": tiny.byte_tokenizer()}


@pytest.mark.parametrize(
    ("kind", "settings", "engine", "tried", "continues_by"),
    [
        (VLLM, {}, "vLLM", {"chat_flag": "continued", "chat_trailing": "started again"}, "chat_flag"),
        (VLLM, TOKENIZER, "vLLM", {"raw": "continued"}, "raw"),
        (Ollama, {}, "Ollama", {"chat_trailing": "continued"}, "chat_trailing"),
        (Ollama, TOKENIZER, "Ollama", {"raw": "wrapped the prompt"}, "chat_trailing"),
        (LlamaCppPython, {}, "llama-cpp-python", {"chat_flag": "started again"}, "chat_instruct"),
        (TransformersServe, {}, "an unknown server", {"chat_flag": "refused"}, "chat_instruct"),
    ],
)
def test_the_strategies_that_continue_a_reply_are_found(
    kind: type[Provider], settings: dict[str, Any], engine: str, tried: dict[str, str], continues_by: str
) -> None:
    found = examine(kind(ANSWER).backend(**settings))
    assert found.error is None
    assert (found.capabilities.engine, found.capabilities.continuation) == (engine, continues_by)
    assert {trial.strategy: trial.outcome for trial in found.trials}.items() >= tried.items()
    assert found.streams
    assert found.tells_usage == kind.usage_streams
    assert KEY not in json.dumps(found.as_dict())


@pytest.mark.parametrize("kind", [VLLM, LlamaCppPython, Ollama, TransformersServe])
def test_the_doctor_and_the_turns_share_what_they_found_out(kind: type[Provider]) -> None:
    provider = kind(ANSWER)
    examine(provider.backend())
    asked = provider.billed
    backend = provider.backend()
    for _ in backend.continue_turn(turn("The answer"), Request(1)):
        pass
    assert provider.billed == asked + 1  # no probe is sent again
    outcomes = {trial.strategy: trial.works for trial in examine(backend).trials}
    assert outcomes.get(str(backend.capabilities.continuation), True)


class Slow(VLLM):
    """A busy server. It answers some questions too late."""

    def __init__(self, *late: str) -> None:
        super().__init__(ANSWER)
        self.late = late

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content or b"{}")
        question = "models" if request.method == "GET" else "logprobs" if "logprobs" in body else "text"
        if question in self.late:
            message = "too late"
            raise httpx2.ReadTimeout(message, request=request)
        return super().__call__(request)


def test_what_a_busy_server_does_not_answer_is_not_known() -> None:
    found = examine(Slow("models", "logprobs").backend(max_retries=0))
    assert (found.capabilities.engine, found.logprobs, found.error) == (None, None, None)


def test_a_busy_server_is_identified_later() -> None:
    server = Slow("models")
    backend = server.backend(max_retries=0)
    list(backend.continue_turn(turn(), Request(1)))
    assert backend.capabilities.engine == "an unknown server"
    server.late = ()
    assert examine(backend).capabilities.engine == "vLLM"


def test_advice_is_given() -> None:
    found = examine(LlamaCppPython(ANSWER).backend())
    assert any("Give the model's tokenizer" in line for line in found.advice)
    assert not any("tokenizer" in line for line in examine(LlamaCppPython(ANSWER).backend(**TOKENIZER)).advice)
    assert any("--enable-prompt-tokens-details" in line for line in examine(VLLM(ANSWER).backend()).advice)


@pytest.mark.parametrize(
    ("kind", "settings", "advised"),
    [
        (DeepSeek, {}, False),
        (DeepSeekNotBeta, {}, True),
        (OpenRouter, {}, True),
        (OpenRouter, {"extra_body": {"provider": {"order": ["acme"]}}}, False),
        (Ollama, {}, True),
    ],
)
def test_advice_that_is_followed_is_not_given(kind: type[Provider], settings: dict[str, Any], advised: bool) -> None:
    backend = kind(ANSWER).backend(**settings)
    given = examine(backend).advice
    assert (backend.profile.engine.advice in given) == advised


def test_a_service_that_bills_after_a_disconnect_is_named() -> None:
    sides = {"target": examine(Groq(ANSWER).backend())}
    assert sides["target"].capabilities.stops_on_cancel is False
    assert any("requests are limited to 256 tokens" in line for line in expected_behaviour(sides))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx2.ConnectError("refused"), "Check that the server is running"),
        (refused(401, f"bad key {KEY}"), "Check `api_key`"),
        (refused(404, "no such model"), "Check the model's name"),
    ],
)
def test_an_unreachable_server_gives_a_one_line_error(answer: Any, says: str) -> None:
    found = examine(Server(answer).backend(max_retries=0))
    assert says in str(found.error)
    assert KEY not in json.dumps(found.as_dict())
    assert list(recommendations({"target": found})) == [f"target: {found.error}"]
    assert report({"target": found})["pair"] == []


def test_a_model_that_is_not_listed_is_reported() -> None:
    class Other(VLLM):
        """A server that lists another model."""

        def models(self) -> dict[str, Any]:
            return {"data": [{"id": "other", "object": "model", "owned_by": "vllm"}]}

    found = examine(Other(ANSWER).backend())
    assert found.model_there is False
    assert "The server does not list big. It lists other." in found.advice


def test_a_local_model_is_examined_too() -> None:
    found = examine(pocket.speculative())
    assert (found.thinks, found.streams, found.error) == (True, True, None)
    assert found.cached_tokens is not None
    assert found.prompt_tokens is not None
    assert 0 < found.cached_tokens < found.prompt_tokens
    assert found.capabilities.context
    [mode, side, *_] = expected_behaviour({"speculative": found})
    assert mode.startswith("Reasoning mode")
    assert "prefills only the new text" in side


class Parrot(Backend):
    """The simplest backend of a user: one method."""

    name = "parrot"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        words = turn.history[-1].content.split()
        for word in words[: request.max_tokens]:
            yield Piece(f"{word} ", tokens=1)
        yield End("stop" if len(words) <= request.max_tokens else "length")


class Remote(Parrot):
    """A backend of a user that says what it can do, and that has a test of its own."""

    capabilities = Capabilities(place="http://10.0.0.7", engine="mine", continuation="magic", top_logprobs_max=5)

    def diagnose(self, found: Diagnosis) -> Diagnosis:
        assert found.capabilities == self.capabilities
        return replace(found, model_there=True, advice=(*found.advice, "Feed it."))


UNKNOWN = {"place": None, "engine": None, "continues_by": None, "context": None, "stops_on_hangup": None}
CHAT_MODEL = {**UNKNOWN, "engine": "FakeListChatModel", "continues_by": "chat_instruct"}


@pytest.mark.parametrize(
    ("backend", "described"),
    [
        pytest.param(
            Parrot,
            {**UNKNOWN, "model_there": None, "logprobs": False},
            id="nothing is known about a backend of one method",
        ),
        pytest.param(
            Remote,
            {
                "place": "http://10.0.0.7",
                "engine": "mine",
                "continues_by": "magic",
                "logprobs": True,
                "model_there": True,
            },
            id="a backend of a user describes itself",
        ),
        pytest.param(
            lambda: ChatModelBackend(FakeListChatModel(responses=["The cat."])),
            {**CHAT_MODEL, "logprobs": False, "model_there": None, "tool_calls": "text", "streams": True},
            id="a chat model does not tell where it runs",
        ),
        pytest.param(
            lambda: ChatModelBackend(FakeListChatModel(responses=["The cat."]), continuation="chat_trailing"),
            {**CHAT_MODEL, "continues_by": "chat_trailing"},
            id="a chat model continues by the strategy that the user chose",
        ),
        pytest.param(
            pocket.speculative,
            {
                "place": "in this process",
                "engine": "transformers",
                "continues_by": "its own tokens",
                "logprobs": True,
                "stops_on_hangup": True,
                "model_there": True,
                "counts_exactly": True,
            },
            id="a local model runs in this process",
        ),
        pytest.param(
            lambda: VLLM(ANSWER).backend(),
            {
                "place": "http://vllm.test:8000/v1",
                "engine": "vLLM",
                "continues_by": "chat_flag",
                "tool_calls": "native",
                "stops_on_hangup": True,
                "model_there": True,
                "counts_exactly": False,
                "prefetches": True,
            },
            id="a server runs at its address",
        ),
        pytest.param(
            lambda: VLLM(ANSWER).backend(**TOKENIZER),
            {"continues_by": "raw", "tool_calls": "text", "counts_exactly": True},
            id="a server with a tokenizer gets prompts that are rendered here",
        ),
    ],
)
def test_every_backend_is_described_truthfully(backend: Callable[[], Backend], described: dict[str, Any]) -> None:
    found = examine(backend())
    assert found.error is None
    facts = found.as_dict()
    assert {key: facts[key] for key in described} == described


def test_a_backend_adds_its_own_findings() -> None:
    assert examine(Remote()).advice == ("Feed it.",)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([Piece("The cat."), End("stop", Usage(9, 4, 3))], id="at the end"),
        pytest.param([Usage(9, 4, 3), Piece("The cat."), End("stop")], id="as an event"),
        pytest.param(
            [Usage(9, 4), Piece("The cat."), Usage(completion_tokens=1), End("stop", Usage(completion_tokens=3))],
            id="in parts, the last count of each",
        ),
    ],
)
def test_usage_is_read_wherever_a_backend_reports_it(events: list[Event]) -> None:
    class Counting(Parrot):
        """A backend that reports its usage."""

        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            yield from events

    found = examine(Counting())
    assert (found.tells_usage, found.prompt_tokens, found.cached_tokens) == (True, 9, 4)


def test_the_speed_counts_tokens_and_not_pieces() -> None:
    class LongPieces(Parrot):
        """A backend whose first piece has all tokens, so that none follow."""

        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            yield Piece("The cat ate the rat.", tokens=6)
            yield Piece(" ", tokens=0)
            yield End("stop")

    assert not examine(LongPieces()).tokens_per_second
    assert examine(Parrot()).tokens_per_second


def test_a_backend_that_reports_no_usage_is_said_to_report_none() -> None:
    assert examine(Parrot()).tells_usage is False


def test_what_is_not_known_is_not_claimed() -> None:
    backends: list[Backend] = [Parrot(), ChatModelBackend(FakeListChatModel(responses=["The cat."]))]
    for found in map(examine, backends):
        sides = {"speculative": found, "target": replace(found, name="another")}
        console = Console(file=StringIO(), width=200)
        show(console, sides)
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert "not known" in shown
        assert not any(
            claim in shown for claim in ("in this process", "transformers", "its own tokens", "only the new")
        )
    assert "it is not known how replies are continued" in "".join(expected_behaviour({"target": examine(Parrot())}))


def test_the_limitation_of_a_chat_model_is_advice() -> None:
    found = examine(ChatModelBackend(FakeListChatModel(responses=["The cat."])))
    assert any("can only be instructed to continue" in line for line in recommendations({"target": found}))


def test_two_backends_that_do_not_say_what_runs_them_may_differ() -> None:
    unknown, known = examine(Parrot()), examine(Remote())
    assert "Both sides" not in "".join(recommendations({"speculative": unknown, "target": unknown}))
    assert "Both sides" in "".join(recommendations({"speculative": known, "target": known}))


def test_text_in_one_piece_is_billed_as_a_whole() -> None:
    class Whole(Parrot):
        """A backend that returns all text at once."""

        def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
            yield Piece("The cat ate the rat.", tokens=6)
            yield End("stop")

    assert any("Text arrives in one piece" in line for line in examine(Whole()).advice)
    assert not any("Text arrives in one piece" in line for line in examine(Parrot()).advice)


@pytest.mark.parametrize(("limit", "says"), [(256, "limited to 256 tokens"), (None, "discarded text is still written")])
def test_the_cost_of_a_disconnect_depends_on_the_limit_of_requests(limit: int | None, says: str) -> None:
    billed = Diagnosis("m", capabilities=Capabilities(stops_on_cancel=False, stopped_tokens_max=limit))
    assert any(says in line for line in expected_behaviour({"target": billed}))


def test_the_keys_of_the_json_are_stable() -> None:
    keys = set(Diagnosis("m").as_dict())
    assert keys >= {
        *("name", "place", "engine", "error", "models", "model_there", "thinks", "trials", "continues_by", "streams"),
        *("tells_usage", "cached_tokens", "prompt_tokens", "logprobs", "stops_on_hangup", "context", "first_text"),
        *("tokens_per_second", "advice"),
    }
    assert not keys & {"capabilities", "continuation", "stops_on_cancel"}


def test_the_findings_are_printed() -> None:
    console = Console(file=StringIO(), width=120)
    sides = {"speculative": examine(VLLM(ANSWER).backend(**TOKENIZER)), "target": examine(VLLM(ANSWER).backend())}
    show(console, sides)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "speculative: big",
        "http://vllm.test",
        "continued",
        "What the pair will do",
        "Non-reasoning mode",
        "Both sides are the same model",
    ):
        assert words in shown


def test_the_command_prints_json_and_fails_if_a_model_is_unreachable() -> None:
    result = CliRunner().invoke(app, ["doctor", "--target", "openai:m", "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert "expected openai:NAME@URL" in found["target"]["error"]
    assert (found["target"]["place"], found["target"]["engine"], found["target"]["logprobs"]) == (None, None, None)
    assert found["changes"]


def test_the_command_needs_at_least_one_model() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "Give --speculative or --target." in result.output

"""Every local half with every hosted half: the answer, what goes over the wire, and what it costs."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from benchmarks.pays.vendor_servers import REASONING_TOKENS, ClaudeCompatible, GeminiCompatible, OpenAIReasoning
from integrations.laptop_and_api.cost import comparison, cost_lines
from integrations.laptop_and_api.halves import HOSTED, LOCAL, LocalHalf
from integrations.laptop_and_api.recipe import ask, pair
from langchain_spec_thinking import Price, pocket
from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny
from tests.unit_tests.gated_pairs import DIFFER, report
from tests.unit_tests.providers.engines import LlamaCpp, Ollama
from tests.unit_tests.providers.model import Reciter, reply_so_far
from tests.unit_tests.providers.services import DeepSeek, Mistral, OpenRouter
from tests.unit_tests.wire import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.pays.vendor_servers import Vendor
    from langchain_spec_thinking import ChatSpeculativeThinking
    from tests.unit_tests.providers.fake import Provider

PAGE = (Path(__file__).parents[2] / "integrations" / "laptop_and_api" / "README.md").read_text(encoding="utf-8")
POCKET_SMALL = str(Path(pocket.__file__).parent / "pocket-small")
QUESTION = pocket.problems()[1].question
"""The small pocket model has a doubt in its thought, and its answers differ."""
PRICE = Price(2.0, 8.0, cached=0.5)
THOUGHT = "I add them.\n\nWait, let me check that.\n\nSo it is one."
SMALL_ANSWER, LARGE_ANSWER = "So it is \\boxed{14}", "It is \\boxed{14}"
REST = "Let me see. That is 14."
CONTINUING: dict[str, type[Provider]] = {"deepseek": DeepSeek, "mistral": Mistral, "openrouter": OpenRouter}
BEGINNING: dict[str, type[Vendor]] = {
    "openai": OpenAIReasoning,
    "anthropic": ClaudeCompatible,
    "google": GeminiCompatible,
}
ENGINES: dict[str, type[Provider]] = {"llama-server": LlamaCpp, "ollama": Ollama}


class UnsureModel(Reciter):
    """A small model with a doubt in its thought. Each of its replies has another number."""

    def __init__(self) -> None:
        super().__init__("")
        self._numbers = count(1)

    def __call__(self, shown: str) -> str:
        """Return the rest of a reply. After the thought of the large model, only the answer is left."""
        if REST in reply_so_far(shown):
            return SMALL_ANSWER
        text = f"<think>\n{THOUGHT}\n</think>\n\n\\boxed{{{next(self._numbers)}}}"
        return Reciter(text)(shown)  # samples are written at the same time, so nothing is kept here


SURE = Reciter(f"<think>\nI add.\n</think>\n\n{SMALL_ANSWER}")
"""A small model that always writes the same, and has no doubt."""


def large_model(shown: str) -> str:
    """Return the rest of a thought that was begun, and an answer that must not be kept. Otherwise a whole reply."""
    thought = f"{REST}\n" if reply_so_far(shown) else "<think>\nI count.\n"
    return f"{thought}</think>\n\n{LARGE_ANSWER}"


def pocket_model(shown: str) -> str:
    """Return what the large pocket model writes."""
    question, begun = re.fullmatch(
        r"<\|user\|>(.*)<\|end\|><\|assistant\|>(?:<think>\n)?(.*)", shown, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    turn = Turn((Message("user", question),), thinks=True)
    if begun:
        turn.append("speculative", begun)
    events = pocket.target().continue_turn(turn, Request(600, temperature=0))
    return ("" if begun else "<think>\n") + "".join(event.text for event in events if isinstance(event, Piece))


class Wire:
    """The servers of both halves in this process.

    Attributes:
        local: The local half. In this process, it is the small pocket model.
        hosted: The hosted half, with the price of the tests.
        service: The fake of the hosted half.
        requests: The path and the key of each request to the service.
        settings: Arguments of the backends that send their requests here.
    """

    def __init__(
        self, local: str, hosted: str, tokenizer: str, small: Callable[[str], str] | None = None, large: Any = None
    ) -> None:
        self.local, self.hosted = LOCAL[local], replace(HOSTED[hosted], price=PRICE)
        if self.local.url is None:
            self.local = LocalHalf(POCKET_SMALL)
        elif self.local.tokenizer:
            self.local = replace(self.local, tokenizer=tokenizer)
        self.service: Any
        if hosted in CONTINUING:
            self.service = CONTINUING[hosted]("")
            self.service.reciter = large or large_model
        else:
            self.service = BEGINNING[hosted](lambda _: LARGE_ANSWER)
        self.requests: list[tuple[str, str | None]] = []
        self._engine: Any = ENGINES[local]("") if local in ENGINES else None
        if self._engine:
            self._engine.reciter = small or UnsureModel()
        self.settings: dict[str, Any] = {
            "http_client": httpx2.Client(transport=httpx2.MockTransport(self._answer)),
            "http_async_client": httpx2.AsyncClient(transport=httpx2.MockTransport(self._aanswer)),
        }

    def pair(self) -> ChatSpeculativeThinking:
        return pair(self.local, self.hosted, **self.settings)

    def _answer(self, request: httpx2.Request) -> Any:
        if request.url.host == httpx2.URL(self.hosted.url).host:
            self.requests.append((request.url.path, request.headers.get("authorization")))
            return self.service(request)
        assert request.url.host == "127.0.0.1"
        assert "authorization" not in request.headers or KEY not in request.headers["authorization"]
        url = str(request.url).replace(str(self.local.url), self._engine.url)
        return self._engine(httpx2.Request(request.method, url, content=request.content))

    async def _aanswer(self, request: httpx2.Request) -> Any:
        return self._answer(request)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.byte_tokenizer(tiny.THINKING_TEMPLATE).save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for hosted in HOSTED.values():
        monkeypatch.setenv(hosted.key_variable, KEY)


def cost_of(usage: dict[str, int], price: Price) -> float:
    uncached = usage["prompt_tokens"] - usage["cached_tokens"]
    cached = price.prompt if price.cached is None else price.cached
    return (
        uncached * price.prompt + usage["cached_tokens"] * cached + usage["completion_tokens"] * price.completion
    ) / 1e6


@pytest.mark.parametrize("asynchronous", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize("hosted", CONTINUING)
@pytest.mark.parametrize("local", LOCAL)
async def test_the_large_model_writes_the_rest_of_the_thought(
    local: str, hosted: str, asynchronous: bool, tokenizer: str
) -> None:
    wire = Wire(local, hosted, tokenizer)
    model = wire.pair()
    message = await model.ainvoke(QUESTION) if asynchronous else model.invoke(QUESTION)
    found = report(message)
    assert [(s["author"], s["channel"]) for s in found["segments"]] == [
        ("speculative", "thinking"),
        ("target", "thinking"),
        ("speculative", "answer"),
    ]
    begun, rest = (block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
    assert rest.rstrip() == REST
    [body] = wire.service.accepted  # one request, which holds the thought of the small model
    last = body["messages"][-1]
    assert last["role"] == "assistant"
    sent = last.get("reasoning_content") or last["content"].removeprefix("<think>\n")
    assert sent.rstrip() == begun.rstrip()
    assert LARGE_ANSWER not in message.text
    assert local == "transformers" or message.text == SMALL_ANSWER
    assert found["degraded"] == []
    assert found["usage"]["speculative"]["cost"] == 0
    assert message.response_metadata["cost"] == pytest.approx(cost_of(found["usage"]["target"], PRICE))
    assert set(wire.requests) == {(f"{httpx2.URL(wire.hosted.url).path}/chat/completions", f"Bearer {KEY}")}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize("hosted", BEGINNING)
@pytest.mark.parametrize("local", LOCAL)
async def test_the_large_model_gets_the_question_if_the_answers_of_the_small_model_differ(
    local: str, hosted: str, asynchronous: bool, tokenizer: str
) -> None:
    wire = Wire(local, hosted, tokenizer)
    update = {"seed": 0} if local == "transformers" else {}  # the other small models always differ
    model = wire.pair().model_copy(update=update)
    message = await model.ainvoke(QUESTION) if asynchronous else model.invoke(QUESTION)
    found = report(message)
    assert message.text == LARGE_ANSWER
    assert found["escalated"] == DIFFER
    [received] = (request for request in wire.service.received if not request.refused)
    assert received.body["messages"] == [{"role": "user", "content": QUESTION}]
    used = found["usage"]["target"]
    assert (used["requests"], found["usage"]["speculative"]["cost"]) == (1, 0)
    assert used["completion_tokens"] > REASONING_TOKENS  # the hidden thought is billed
    assert message.response_metadata["cost"] == pytest.approx(cost_of(used, PRICE))
    assert [reason for reason in found["degraded"] if "`seed`" not in reason] == []  # Gemini refuses a seed
    assert {key for _, key in wire.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("hosted", HOSTED)
@pytest.mark.parametrize("local", ENGINES)
def test_a_sure_small_model_costs_nothing(local: str, hosted: str, tokenizer: str) -> None:
    wire = Wire(local, hosted, tokenizer, SURE)
    message = wire.pair().invoke(QUESTION)
    assert message.text == SMALL_ANSWER
    assert message.response_metadata["cost"] == 0
    assert wire.requests == []


def test_the_table_adds_up(tokenizer: str) -> None:
    wire = Wire("llama-server", "openai", tokenizer)
    model = wire.pair()
    messages = [model.invoke(QUESTION) for _ in range(2)]
    used = [report(message)["usage"] for message in messages]
    head, small, large, prices = cost_lines(model, messages)
    assert head.split() == ["requests", "read", "cached", "written", "cost"]
    for row, author in ((small, "speculative"), (large, "target")):
        numbers = [
            sum(one[author][name] for one in used)
            for name in ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")
        ]
        assert row.split()[1:5] == [str(number) for number in numbers]
    assert float(large.split()[5]) == pytest.approx(sum(m.response_metadata["cost"] for m in messages), abs=1e-6)
    assert float(small.split()[5]) == 0
    assert "cost 2 (read), 0.5 (cached) and 8 (written)" in prices


def test_a_price_that_is_not_known_is_not_zero(tokenizer: str) -> None:
    wire = Wire("llama-server", "openrouter", tokenizer)
    wire.hosted = replace(wire.hosted, model="nobody/no-model", price=None)
    model = wire.pair()
    message = model.invoke(QUESTION)
    lines = cost_lines(model, [message])
    assert lines[2].endswith("not known")
    assert "is not listed, or the extra [prices] is missing. Pass --price" in lines[3]
    assert comparison([message], [message]) == (
        "The costs cannot be compared, because the price of a model is not known."
    )


def test_the_page_shows_what_the_recipe_prints(capsys: pytest.CaptureFixture[str], tokenizer: str) -> None:
    wire = Wire("transformers", "deepseek", tokenizer, large=pocket_model)
    questions = [problem.question for problem in pocket.problems()[1:4]]
    arguments = ["--local", "transformers", "--small", POCKET_SMALL, "--hosted", "deepseek", "--compare"]
    arguments += ["--price", "0.15", "0.6", "0.003"]
    ask([*arguments, *(part for question in questions for part in ("--question", question))], **wire.settings)
    printed = capsys.readouterr().out
    for question in questions:
        assert f"> {question}\n\n" in printed
    table = "\n".join(line.rstrip() for line in printed.splitlines()[-5:])
    assert f"```text\n{table}\n```" in PAGE, f"integrations/laptop_and_api/README.md: expected this block\n{table}"


def test_a_missing_key_is_an_error_that_names_the_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(SystemExit):
        ask(["--hosted", "google"])
    assert "set GEMINI_API_KEY to the API key for https://generativelanguage.googleapis.com" in capsys.readouterr().err


def made_by(code: str, tokenizer: str) -> dict[str, Any]:
    """Run the code of the page with a tokenizer from a folder."""
    session: dict[str, Any] = {}
    exec(re.sub(r'"deepseek-ai/[^"]*"', repr(tokenizer), code), session)  # noqa: S102 - runs the code as readers do
    return session


@pytest.mark.parametrize(
    ("number", "local", "hosted"), [(0, "llama-server", "deepseek"), (1, "ollama", "openai")], ids=["rest", "gated"]
)
def test_the_code_of_the_page_makes_the_pair_of_the_recipe(
    number: int, local: str, hosted: str, tokenizer: str
) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[number]
    shown = made_by(code, tokenizer)["model"]
    wire = Wire(local, hosted, tokenizer)
    made = pair(wire.local, HOSTED[hosted])
    assert shown.speculative.describe() == made.speculative.describe()
    assert shown.target.describe() == made.target.describe()
    assert shown.policy == made.policy
    assert (shown.temperature, shown.top_p) == (made.temperature, made.top_p) == (None, None)
    assert shown.speculative.price == Price(0, 0)
    assert f'environ["{HOSTED[hosted].key_variable}"]' in code


def test_the_tables_of_the_page_hold_every_half() -> None:
    rows = re.findall(r"^\| \w+ \| `(\S+)` \| `(https://\S+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert rows == [(half.model, half.url, half.key_variable) for half in HOSTED.values()]
    assert f'`small = HuggingFaceBackend("{LOCAL["transformers"].model}")`' in PAGE
    assert {f"`{name}`" for name in (*LOCAL, *HOSTED)} <= set(re.findall(r"`\S+`", PAGE))

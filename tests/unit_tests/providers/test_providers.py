"""Two models write the same text with any provider. The report notes if a model was only instructed to continue."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import pytest

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, OpenAIBackend
from langchain_spec_thinking.backends.base import Piece, Request, Usage
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import OPENING
from tests.unit_tests.backends import tiny
from tests.unit_tests.providers.engines import ENGINES, LlamaCpp, Ollama, TransformersServe, VLLMWithParser
from tests.unit_tests.providers.fake import Provider, behaviours
from tests.unit_tests.providers.model import ANSWER, TEXTS, THOUGHT
from tests.unit_tests.providers.services import SERVICES, LiteLLM
from tests.unit_tests.wire import turn

PROVIDERS: tuple[type[Provider], ...] = (*ENGINES, *SERVICES)
WRAPPING: tuple[type[Provider], ...] = (Ollama, LiteLLM)
"""Providers whose completions endpoint renders the prompt as a chat."""
SEEDLESS = {"Mistral", "Gemini"}
"""Providers that refuse `seed`."""
CHECKED = re.compile(
    r"(at every change|20\d\d-\d\d-\d\d), "
    r"((?P<how>read|report): \[[^]]+\]\(https://\S+\)|"
    r"(?P<tested>tested): (`tests/integration_tests`|version \S+ of its server)|nothing found)"
)
"""When and how the first line of a fake's docstring was last compared with a source."""


def cases() -> list[Any]:
    found = []
    for case in product(PROVIDERS, TEXTS, ["speculative", "target"], [8, 20]):
        kind, text, role, takeover_tokens = case
        if kind is VLLMWithParser and text == "plain":
            continue  # vLLM has a reasoning parser only for reasoning models
        found.append(pytest.param(*case, id=f"{kind.__name__}-{text}-{role}-{takeover_tokens}"))
    return found


def names(provider: type[Provider]) -> str:
    return provider.__name__


def recited(text: str, backend: OpenAIBackend, role: str, takeover_tokens: int) -> ChatSpeculativeThinking:
    """Return two models that know the text. One of them is behind a provider."""
    other = ScriptedBackend(lambda half: text[len(half.body()) :], thinks=text.startswith(OPENING))
    models: dict[str, Any] = {"speculative": other, "target": other, role: backend, "answer_by": role}
    policy = DelegationPolicy(takeover_tokens=takeover_tokens, recap_sentence="")
    return ChatSpeculativeThinking(**models, policy=policy, seed=7)


def check_text(message: Any, text: str, role: str) -> None:
    thought = "".join(block["reasoning"] for block in message.content_blocks if block["type"] == "reasoning")
    assert message.text == ANSWER
    assert thought.rstrip() == (THOUGHT if text == "thinking" else "")
    assert role in {segment["author"] for segment in message.response_metadata["speculative_thinking"]["segments"]}


def check_strategy(message: Any, backend: OpenAIBackend, strategy: str) -> None:
    assert backend.describe()["continuation"] == strategy
    degraded = message.response_metadata["speculative_thinking"]["degraded"]
    fields = [reason for reason in degraded if "refuses the field" in reason]
    assert all("`seed`" in reason for reason in fields)
    assert len(fields) == (backend.profile.engine.name in SEEDLESS)
    assert bool([reason for reason in degraded if reason not in fields]) == (strategy == "chat_instruct")


def check_form(body: dict[str, Any], strategy: str, limit_field: str = "max_tokens") -> None:
    """Check that a request to continue a reply has the form of the strategy."""
    assert body[limit_field] > 0
    last = {} if strategy == "raw" else body["messages"][-1]
    match strategy:
        case "raw":
            assert body["prompt"].startswith("<|user|>2 + 3?<|end|><|assistant|>")
        case "chat_flag":
            # llama.cpp closes the thought before an empty answer only if the field names the content.
            closes = bool(last.get("reasoning_content")) and not last["content"]
            flags = (True, "content") if closes else (True,)
            assert body["continue_final_message"] in flags
            assert body["add_generation_prompt"] is False
        case "chat_mark":
            assert [last.get("prefix"), last.get("partial")].count(True) == 1
        case "chat_trailing":
            assert last == {"role": "assistant", "content": last["content"].rstrip()}
        case "chat_instruct":
            assert last["role"] == "user"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["invoke", "ainvoke"])
@pytest.mark.parametrize(("kind", "text", "role", "takeover_tokens"), cases())
async def test_a_pair_writes_the_text_and_nothing_else(
    kind: type[Provider], text: str, role: str, takeover_tokens: int, asynchronous: bool
) -> None:
    provider = kind(TEXTS[text])
    backend = provider.backend()
    pair = recited(TEXTS[text], backend, role, takeover_tokens)
    message = await pair.ainvoke("2 + 3?") if asynchronous else pair.invoke("2 + 3?")
    check_text(message, text, role)
    check_strategy(message, backend, kind.auto)
    continuing = [body for body in provider.accepted if len(body["messages"]) > 1]
    assert continuing
    for body in continuing:
        check_form(body, kind.auto, kind.limit_field)


@pytest.mark.parametrize("role", ["speculative", "target"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", [kind for kind in PROVIDERS if kind.raw], ids=names)
def test_a_rendered_prompt_is_passed_on_unchanged(kind: type[Provider], text: str, role: str) -> None:
    provider = kind(TEXTS[text])
    backend = provider.backend(tokenizer=tiny.byte_tokenizer(), thinking=text == "thinking")
    message = recited(TEXTS[text], backend, role, 20).invoke("2 + 3?")
    check_text(message, text, role)
    check_strategy(message, backend, "raw")
    for body in provider.accepted:
        check_form(body, "raw")


@pytest.mark.parametrize("kind", WRAPPING, ids=names)
def test_raw_is_not_used_if_the_server_wraps_prompts(kind: type[Provider]) -> None:
    backend = kind(ANSWER).backend(tokenizer=tiny.byte_tokenizer())
    check_text(recited(ANSWER, backend, "target", 20).invoke("2 + 3?"), "plain", "target")
    assert backend.describe()["continuation"] != "raw"


def test_a_stream_of_llama_cpp_may_begin_with_the_text_so_far() -> None:
    """Only its replies that are no streams repeat the given text. So an equal text in a stream is new."""
    backend = LlamaCpp("11 apples.").backend()
    half = turn()
    half.append("speculative", "1")
    events = backend.continue_turn(half, Request(20, temperature=0))
    assert "".join(event.text for event in events if isinstance(event, Piece)) == "1 apples."


@pytest.mark.parametrize("kind", PROVIDERS, ids=names)
def test_tokens_billed_after_a_stream_was_closed(kind: type[Provider]) -> None:
    provider = kind(TEXTS["thinking"])
    backend = provider.backend()
    for _ in backend.continue_turn(turn(), Request(max_tokens=1)):
        pass
    before = provider.billed  # a probe is billed too
    events = backend.continue_turn(turn(), Request(max_tokens=30))
    assert isinstance(next(events), Usage)
    assert isinstance(next(events), Piece)
    events.close()
    billed = provider.billed - before
    assert billed == 30 if kind.bills_on else billed < 5


@pytest.mark.parametrize("kind", PROVIDERS, ids=names)
def test_a_provider_lists_its_models_under_its_own_name(kind: type[Provider]) -> None:
    with httpx2.Client(transport=httpx2.MockTransport(kind(ANSWER))) as client:
        listed = client.get(f"{kind.url}/models").json()["data"]
    assert {model.get("owned_by") for model in listed} <= {kind.owner}
    assert {model["id"] for model in listed} == (set() if kind is TransformersServe else {"big"})


@pytest.mark.parametrize("kind", PROVIDERS, ids=names)
def test_each_behaviour_names_its_source(kind: type[Provider]) -> None:
    lines = [line for line in (kind.__doc__ or "").splitlines() if line.strip().startswith("-")]
    assert len(lines) == len(behaviours(kind)) > 0


@pytest.mark.parametrize("kind", PROVIDERS, ids=names)
def test_each_row_says_when_and_how_it_was_checked(kind: type[Provider]) -> None:
    found = CHECKED.fullmatch(kind.checked)
    assert found, f"{kind.name}: expected a date, how, and an address, got {kind.checked!r}"
    ways: dict[str, set[str | None]] = {
        "documented": {"read"},
        "recorded": {"report", "tested"},
        "guessed": {"read", "report", None},
    }
    assert (found["how"] or found["tested"]) in ways[behaviours(kind)[0].source]


def test_the_documentation_describes_the_fakes() -> None:
    page = (Path(__file__).parents[3] / "docs" / "backends.md").read_text(encoding="utf-8")
    rows = []
    for kind in PROVIDERS:
        how = behaviours(kind)[0]
        raw = "exact" if kind.raw else "wraps the prompt" if kind in WRAPPING else "-"
        cells = (kind.name, f"`{kind.auto}`", raw, how.does.rstrip("."), how.source, kind.checked)
        rows.append(f"| {' | '.join(cells)} |")
    table = "\n".join(rows)
    assert table in page, f"docs/backends.md: expected this table\n{table}"

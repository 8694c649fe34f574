"""Log-probabilities of the most likely tokens, from local models and from servers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import torch
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from langchain_spec_thinking import (
    AllOf,
    ChatModelBackend,
    ChatSpeculativeThinking,
    CueTrigger,
    DelegationPolicy,
    FirstTokenEntropy,
    OpenAIBackend,
)
from langchain_spec_thinking.backends.base import Piece, Request
from langchain_spec_thinking.backends.openai.logprobs import split_at_tokens
from langchain_spec_thinking.policy.triggers import NO_LOGPROBS
from langchain_spec_thinking.testing import ScriptedBackend
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny
from tests.unit_tests.wire import Server, continued, delta, refused, sse, text, turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_spec_thinking.backends.base import Backend

TOP = 5
FLAT, PEAKED = [-2.0, -2.0, -2.0], [-0.1, -5.0]
ENTROPY = DelegationPolicy(trigger=FirstTokenEntropy())


# -- local models


def reference(prompt: list[int], count: int) -> Iterator[tuple[float, ...]]:
    """Yield the top log-probabilities of greedy decoding, with one forward pass per token and without a cache."""
    model, ids = tiny.llama(vocabulary=len(tiny.byte_tokenizer(foreign=True))), list(prompt)
    for _ in range(count):
        with torch.inference_mode():
            scores = model(torch.tensor([ids])).logits[0, -1]
        yield tuple(scores.softmax(-1).log().sort(descending=True).values[:TOP].tolist())
        ids.append(int(scores.argmax()))


@pytest.mark.parametrize("prompt", ["hi", "你好 🤖", "the cat sat"])
def test_local_logprobs_equal_those_of_the_logits(prompt: str) -> None:
    tokenizer = tiny.byte_tokenizer(foreign=True)
    backend = tiny.backend(tiny.llama(vocabulary=len(tokenizer)), tokenizer)
    half = Turn((Message("user", prompt),))
    pieces = [
        e for e in backend.continue_turn(half, Request(60, temperature=0, top_logprobs=TOP)) if isinstance(e, Piece)
    ]
    messages = [{"role": "user", "content": prompt}]
    ids: Any = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    expected = list(reference(ids, sum(piece.tokens or 0 for piece in pieces)))
    written = 0
    for piece in pieces:
        assert piece.top_logprobs == pytest.approx(expected[written], abs=1e-4)
        written += piece.tokens or 0
    assert written > 30


def test_local_logprobs_are_before_temperature_and_nucleus() -> None:
    first = [
        next(
            event.top_logprobs
            for event in tiny.backend().continue_turn(
                turn(), Request(1, temperature=temperature, top_p=top_p, seed=1, top_logprobs=TOP)
            )
            if isinstance(event, Piece)
        )
        for temperature, top_p in [(0, 1), (2.0, 1), (1.0, 0.1)]
    ]
    assert first[0] is not None
    assert first[1] == pytest.approx(first[0], abs=1e-4)
    assert first[2] == pytest.approx(first[0], abs=1e-4)
    assert list(first[0]) == sorted(first[0], reverse=True)


def test_no_logprobs_without_a_request() -> None:
    events = tiny.backend().continue_turn(turn(), Request(9, temperature=0))
    assert {event.top_logprobs for event in events if isinstance(event, Piece)} == {None}


def test_entropy_triggers_takeovers_in_a_local_pair() -> None:
    """Random weights are uncertain, so the threshold decides how much the target writes: all, a part or nothing."""
    shares = []
    for threshold in (0.0, 0.5, 99.0):
        policy = DelegationPolicy(trigger=FirstTokenEntropy(threshold), boundary="\n", takeover_tokens=3)
        pair = ChatSpeculativeThinking(
            speculative=tiny.backend(), target=tiny.backend(tiny.llama(1)), policy=policy, temperature=0, max_tokens=150
        )
        report = pair.invoke("hi").response_metadata["speculative_thinking"]
        assert report["degraded"] == []
        shares.append(report["target_share"])
    assert shares[0] > shares[1] > shares[2] == 0


# -- servers


@pytest.mark.parametrize(
    ("settings", "asked"),
    [({}, {"logprobs": 7}), ({"continuation": "chat_flag", "tokenizer": None}, {"logprobs": True, "top_logprobs": 7})],
)
def test_each_endpoint_has_its_own_request_fields(settings: dict[str, Any], asked: dict[str, Any]) -> None:
    for wanted in (7, 0):
        server = Server(sse(text("A", "stop")))
        continued(server.backend(**settings), top_logprobs=wanted)
        found = {name: value for name, value in server.requests[-1][1].items() if "logprobs" in name}
        assert found == (asked if wanted else {})


def completion(*tokens: tuple[str, list[float]]) -> dict[str, Any]:
    """Return log-probabilities as OpenAI, vLLM and SGLang do in completions.

    An unlikely chosen token is an additional entry.
    """
    tops = [{f"t{n}": logprob for n, logprob in enumerate(logprobs)} for _, logprobs in tokens]
    names = [token for token, _ in tokens]
    return {"tokens": names, "token_logprobs": [-9.0] * len(tokens), "top_logprobs": tops, "text_offset": [0]}


def chat(*tokens: tuple[str, list[float]]) -> dict[str, Any]:
    """Return the form of chat completions and of llama.cpp's completions."""
    return {
        "content": [
            {"token": token, "logprob": -9.0, "top_logprobs": [{"token": "t", "logprob": x} for x in logprobs]}
            for token, logprobs in tokens
        ]
    }


def with_logprobs(chunk: dict[str, Any], logprobs: Any) -> dict[str, Any]:
    chunk["choices"][0]["logprobs"] = logprobs
    return chunk


def pieces_of(*chunks: dict[str, Any], half: Turn | None = None, **settings: Any) -> list[tuple[str, Any]]:
    _, events = continued(Server(sse(*chunks)).backend(**settings), half, top_logprobs=3)
    return [(event.text, event.top_logprobs) for event in events if isinstance(event, Piece)]


@pytest.mark.parametrize("form", [completion, chat])
def test_completions_with_logprobs_in_either_form(form: Any) -> None:
    chunks = [
        with_logprobs(text("So"), form(("So", FLAT))),
        with_logprobs(text(" five.", "stop"), form((" five", PEAKED), (".", FLAT))),
    ]
    assert pieces_of(*chunks) == [("So", tuple(FLAT)), (" five", tuple(PEAKED)), (".", tuple(FLAT))]


@pytest.mark.parametrize("form", [completion, chat])
def test_chats_with_logprobs_in_either_form(form: Any) -> None:
    """llama-cpp-python's chat completions use the form of completions."""
    found = pieces_of(
        with_logprobs(delta(content="So"), form(("So", FLAT))),
        with_logprobs(delta("stop", content=" five."), form((" five", PEAKED), (".", FLAT))),
        continuation="chat_flag",
        tokenizer=None,
    )
    assert found == [("So", tuple(FLAT)), (" five", tuple(PEAKED)), (".", tuple(FLAT))]


def test_a_chunk_that_differs_from_its_tokens_has_the_logprobs_of_the_first() -> None:
    chunks = [
        with_logprobs(delta(reasoning="Hm"), chat(("Hm", FLAT))),  # a tag precedes it
        with_logprobs(delta(content="So"), chat(("<S>", PEAKED), ("o", FLAT))),
    ]
    found = pieces_of(*chunks, continuation="chat_flag", tokenizer=None)
    assert found == [("<think>Hm", tuple(FLAT)), ("\n</think>\n\nSo", tuple(PEAKED))]


def test_a_character_in_two_chunks_has_the_logprobs_of_its_first_half() -> None:
    chunks = [
        with_logprobs(text(""), completion(("\ufffd", FLAT))),
        with_logprobs(text("é"), completion(("\ufffd", PEAKED))),
    ]
    assert pieces_of(*chunks) == [("é", tuple(FLAT))]


def test_logprobs_of_repeated_text_are_dropped_with_it() -> None:
    given = "I add two and three.\n\n"
    said = f"<|user|>hi<|end|><|assistant|>{given}"  # the whole prompt
    chunks = [
        with_logprobs(text(said[:6]), completion((said[:6], FLAT))),
        with_logprobs(text(said[6:]), completion((said[6:], FLAT))),
    ]
    found = pieces_of(*chunks, with_logprobs(text("So"), completion(("So", PEAKED))), half=turn(given))
    assert found == [("So", tuple(PEAKED))]


@pytest.mark.parametrize(
    "logprobs",
    [None, {}, 7, [], {"tokens": None}, {"tokens": ["A"], "top_logprobs": None}, {"content": [None]}]
    + [{"tokens": ["A"], "top_logprobs": [None]}, {"content": [{"token": "A", "top_logprobs": None}]}]
    + [{"tokens": ["A"], "top_logprobs": [{"t": "x"}]}, {"tokens": [1], "top_logprobs": [{"t": -1.0}]}],
)
def test_invalid_logprobs_cost_no_text(logprobs: Any) -> None:
    found = split_at_tokens("A", SimpleNamespace(logprobs=logprobs))
    assert "".join(part for part, _ in found) == "A"
    assert {top for _, top in found} <= {None}


def test_the_target_writes_a_remote_step_that_begins_uncertainly() -> None:
    draft = [with_logprobs(text(t), completion((t, top))) for t, top in [("One.", FLAT), ("\n\n", FLAT), ("Two", FLAT)]]
    last = with_logprobs(text("Three.", "stop"), completion(("Three.", PEAKED)))
    server = Server(sse(*draft, *[text(" on")] * 9), sse(last))
    target = ScriptedBackend("It is two.\n\nNext.")
    message = ChatSpeculativeThinking(speculative=server.backend(), target=target, policy=ENTROPY).invoke("x")
    assert message.text == "One.\n\nIt is two.\n\nThree."
    report = message.response_metadata["speculative_thinking"]
    assert (report["takeovers"], report["degraded"], len(server.requests)) == (1, [], 2)
    assert [body["logprobs"] for _, body in server.requests] == [20, 20]


@pytest.mark.parametrize("says", ["logprobs is not supported", "Unrecognized fields: logprobs"])
def test_a_server_that_refuses_logprobs_is_used_without_them(says: str) -> None:
    server = Server(refused(400, says), sse(text("One.\n\nTwo."), text("", "stop")))
    backend = server.backend()
    pair = ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend(), policy=ENTROPY)
    message = pair.invoke("x")
    assert message.text == "One.\n\nTwo."
    assert message.response_metadata["speculative_thinking"]["degraded"] == [NO_LOGPROBS]
    assert ["logprobs" in body for _, body in server.requests] == [True, False]
    with pytest.raises(ValueError, match="returns none"):  # the backend knows it from now on
        ChatSpeculativeThinking(speculative=backend, target=ScriptedBackend(), policy=ENTROPY)


# -- invalid pairs


def hosted(url: str) -> OpenAIBackend:
    return OpenAIBackend("m", base_url=url, api_key="k", http_client=httpx2.Client())


@pytest.mark.parametrize(
    ("speculative", "says"),
    [
        (ScriptedBackend("A"), "scripted"),
        (ChatModelBackend(FakeListChatModel(responses=["A"])), "FakeListChatModel"),
        (hosted("https://api.groq.com/openai/v1"), "groq"),
        (hosted("https://api.anthropic.com/v1"), "anthropic"),
    ],
)
@pytest.mark.parametrize("trigger", [FirstTokenEntropy(), AllOf(CueTrigger(), FirstTokenEntropy())])
def test_a_trigger_is_refused_if_the_backend_has_no_logprobs(speculative: Backend, says: str, trigger: Any) -> None:
    with pytest.raises(ValueError, match="needs the log-probabilities of the 20 most likely tokens") as caught:
        ChatSpeculativeThinking(
            speculative=speculative, target=ScriptedBackend(), policy=DelegationPolicy(trigger=trigger)
        )
    assert says in str(caught.value)
    assert "returns none" in str(caught.value)


def test_a_trigger_is_refused_if_the_backend_has_too_few_logprobs() -> None:
    speculative = ScriptedBackend(logprobs=lambda _: (-1.0,))
    policy = DelegationPolicy(trigger=FirstTokenEntropy(top=21))
    with pytest.raises(ValueError, match=r"21 most likely tokens .* returns at most 20"):
        ChatSpeculativeThinking(speculative=speculative, target=ScriptedBackend(), policy=policy)


def test_the_target_needs_no_logprobs() -> None:
    speculative = ScriptedBackend("One.\n\nTwo.", logprobs=lambda word: (-2.0,) * (3 if word == "Two." else 1))
    pair = ChatSpeculativeThinking(speculative=speculative, target=ScriptedBackend("2."), policy=ENTROPY)
    assert pair.invoke("x").text == "One.\n\n2."

"""Every call that the documents show, as users write it. mypy (strict, without plugins) and pyright must accept all.

Nobody runs this file. `tests/unit_tests/test_typing.py` fails if a document shows an argument that is missing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_type

import httpx
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import ConfigurableField
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from transformers import BitsAndBytesConfig

from langchain_spec_thinking import (
    TAKE_OVER,
    Agreement,
    AllOf,
    AnyOf,
    Backend,
    Budget,
    ChatModelBackend,
    ChatSpeculativeThinking,
    Confidence,
    Cue,
    CueTrigger,
    DelegationPolicy,
    Draft,
    EscalateIfAll,
    EscalateIfAny,
    Escalation,
    FirstTokenEntropy,
    HuggingFaceBackend,
    Lexicon,
    OpenAIBackend,
    Price,
    RandomTrigger,
    Record,
    ScoreAndAccept,
    Stall,
    TargetLeads,
    Trace,
    Trigger,
    TunableParameter,
    pocket,
    read_records,
    recording,
    register_escalation,
    register_trigger,
    replay,
    without_reasoning,
)
from langchain_spec_thinking.backends.base import End, Event, Piece, Request
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.evaluation import Variant, alone, evaluate, load_questions
from langchain_spec_thinking.otel import OpenTelemetryHandler
from langchain_spec_thinking.policy.escalation import Escalate, Evidence, Verdict
from langchain_spec_thinking.testing import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Generator

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from langchain_spec_thinking.turn import Turn

URL = "http://127.0.0.1:8000/v1"


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    sunny: bool


def weather(city: str) -> str:
    """Say what the weather is like in a city."""
    return f"sunny in {city}"


# --- Backends


def backends(loaded: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, other: BaseChatModel) -> list[Backend]:
    return [
        HuggingFaceBackend("Qwen/Qwen3-1.7B"),
        HuggingFaceBackend("Qwen/Qwen3-1.7B", dtype="auto", device="auto", thinking=None, trust_remote_code=False),
        HuggingFaceBackend("Qwen/Qwen3-1.7B-GGUF", gguf_file="Qwen3-1.7B-Q8_0.gguf", dtype="bfloat16"),
        HuggingFaceBackend("Qwen/Qwen3-1.7B", quantization_config=BitsAndBytesConfig(load_in_8bit=True)),
        HuggingFaceBackend("Qwen/Qwen3-1.7B", device="cuda", compile=True),
        HuggingFaceBackend(loaded, tokenizer),
        OpenAIBackend("name", base_url=URL, tokenizer="hub-id-or-folder"),
        OpenAIBackend("name", base_url=URL, timeout=120),
        OpenAIBackend("name", base_url=URL, timeout=httpx.Timeout(60, read=120)),
        OpenAIBackend("name", base_url=URL, timeout=None, default_headers={"X-Team": "blue"}, default_query={"v": 1}),
        OpenAIBackend("name", base_url=URL, api_key=lambda: "..."),
        OpenAIBackend("name", base_url=URL, api_key=later),
        OpenAIBackend("name", base_url=URL, tokenizer=tokenizer, continuation="raw", extra_body={"provider": {}}),
        OpenAIBackend("name", base_url="https://api.deepseek.com/beta", api_key="...", continuation="auto"),
        OpenAIBackend("name", base_url=URL, price=Price(1.0, 4.0, cached=0.1)),
        HuggingFaceBackend("Qwen/Qwen3-1.7B", price=Price(prompt=0, completion=0)),
        ChatModelBackend(other, price=Price(prompt=0.5, completion=2.0, cached=0.05)),
        ChatModelBackend(other, continuation="auto", thinking=False),
        ChatModelBackend(other, continuation="chat_trailing"),
        ScriptedBackend("Indeed.", name="large", thinks=True),
        ScriptedBackend(lambda turn: "So it is five." if turn.answer else "2 + 3 = 6"),
    ]


async def later() -> str:
    return "..."


class Parrot(Backend):
    name = "parrot"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        words = turn.history[-1].content.split()
        for word in words[: request.max_tokens]:
            yield Piece(f"{word} ", tokens=1)
        yield End("stop" if len(words) <= request.max_tokens else "length")


class Down(Backend):
    name = "down"

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        raise BackendError("nobody is there")
        yield


# --- The chat model


def pairs(here: HuggingFaceBackend, there: OpenAIBackend, other: BaseChatModel) -> list[ChatSpeculativeThinking]:
    return [
        ChatSpeculativeThinking(speculative=here, target=there),
        ChatSpeculativeThinking(speculative=there, target=here),
        ChatSpeculativeThinking(speculative=here, target=other),
        ChatSpeculativeThinking(speculative=other, target=ChatOpenAI(model="name")),
        ChatSpeculativeThinking(speculative=FakeListChatModel(responses=["391"]), target=Parrot()),
        ChatSpeculativeThinking(speculative="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", target="anthropic:name"),
        ChatSpeculativeThinking(speculative=f"openai:small@{URL}", target=f"openai:large@{URL}#org/tokenizer"),
    ]


def settings() -> None:
    model = ChatSpeculativeThinking(
        speculative="org/small",
        target="org/large",
        policy=DelegationPolicy.non_reasoning(),
        answer_by="target",
        think_before_tools=False,
        on_target_failure="raise",
        draft_verification="ahead",
        prefetch="auto",
        max_tokens=1000,
        thinking_tokens=500,
        temperature=0,
        top_p=None,
        top_k=20,
        seed=7,
        timeout=60,
        stop="END",
        name="pair",
        cache=InMemoryCache(),
        profile={"max_input_tokens": 32_768},
        tags=["pair"],
        metadata={"kind": "pair"},
        callbacks=[OpenTelemetryHandler()],
        disable_streaming="tool_calling",
        verbose=False,
    )
    assert_type(model.speculative, Backend)
    assert_type(model.target, Backend)
    assert_type(model.stop, list[str] | None)
    assert_type(model.model_name, str)
    ChatSpeculativeThinking(speculative="org/small", target="org/large", stop=["END", "STOP"], timeout=None)


def pocket_pair() -> None:
    model = ChatSpeculativeThinking.pocket(draft_verification="ahead", policy=DelegationPolicy(takeover_tokens=None))
    model = ChatSpeculativeThinking.pocket(policy=DelegationPolicy.gated(), seed=1)
    model = ChatSpeculativeThinking.pocket(max_tokens=300)
    assert_type(model, ChatSpeculativeThinking)
    ChatSpeculativeThinking.pocket(target="org/large")
    problem = pocket.problems()[2]
    message = model.invoke(problem.question)
    assert_type(pocket.boxed(message.text), int | None)


# --- Policies and triggers


def policies() -> list[DelegationPolicy]:
    return [
        DelegationPolicy(),
        DelegationPolicy(takeover_tokens=40, recap_sentence=""),
        DelegationPolicy(takeover_tokens=None),
        DelegationPolicy(FirstTokenEntropy(1.0), takeover_tokens="rest"),
        DelegationPolicy(takeover_interval=200),
        DelegationPolicy(trigger=CueTrigger(Lexicon(reflection=("hmm", "wait"), affirmation=(), substrings=True))),
        DelegationPolicy(trigger=FirstTokenEntropy(threshold=1.0, top=20)),
        DelegationPolicy(trigger=AnyOf(FirstTokenEntropy(threshold=1.0), CueTrigger())),
        DelegationPolicy(trigger=AllOf(RandomTrigger(0.3), CueTrigger())),
        DelegationPolicy(trigger=ScoreAndAccept(question="Is this step right?", threshold=7)),
        DelegationPolicy(trigger=TargetLeads()),
        DelegationPolicy(trigger=RandomTrigger(0)),
        DelegationPolicy(trigger=Calculations()),
        DelegationPolicy.gated(),
        DelegationPolicy.gated(escalation=Agreement(samples=3)),
        DelegationPolicy.gated(escalation=Agreement(samples=2, temperature=0.8, compare="auto")),
        DelegationPolicy.gated(escalation=Agreement(compare=same_text)),
        DelegationPolicy.gated(escalation=Stall(reflections=6, repeats=4, passage_words=12, tokens=None)),
        DelegationPolicy.gated(escalation=Confidence(threshold=-0.1, measure="lowest")),
        DelegationPolicy(escalation=EscalateIfAny(Stall(), Agreement()), escalate_to="restart"),
        DelegationPolicy(escalation=EscalateIfAll(Confidence(), Agreement()), escalate_to="continue"),
        DelegationPolicy.gated(escalation=Unsure()),
        DelegationPolicy(budget=Budget(target_tokens=500)),
        DelegationPolicy(budget=Budget(target_share=0.2)),
        DelegationPolicy(budget=Budget(requests=3)),
        DelegationPolicy(budget=Budget(cost=0.01)),
        DelegationPolicy.non_reasoning(takeover_tokens=None),
        DelegationPolicy.paper(choose_large=False),
    ]


@dataclass(frozen=True)
class Calculations(Trigger):
    sign: str = "="

    def examine(self, draft: Draft) -> Cue | None:
        at = draft.sentence.find(self.sign)
        return None if at < 0 else Cue(self.sign, "trigger", at + len(self.sign))


@register_escalation
@dataclass(frozen=True)
class Unsure(Escalation):
    words: str = "not sure"

    def examine(self, evidence: Evidence) -> Verdict | None:
        if evidence.answer is None:
            return None
        return Escalate("the small model is not sure") if self.words in evidence.answer.text else "accept"


def same_text(first: str, second: str) -> bool:
    return first.casefold() == second.casefold()


@register_trigger
@dataclass(frozen=True)
class LongSentences(Trigger):
    characters: int = 60
    tunable = TunableParameter("characters", at_lowest_share=10_000, at_highest_share=1, integer=True)

    def examine(self, draft: Draft) -> Cue | None:
        return TAKE_OVER if len(draft.sentence) >= self.characters else None


# --- Messages, streams, tools, structured output


def messages(model: ChatSpeculativeThinking) -> None:
    message = model.invoke("What is 17 * 23?")
    assert_type(message, AIMessage)
    print(message.text, message.usage_metadata, message.response_metadata["speculative_thinking"]["takeovers"])
    for block in message.content_blocks:
        if block["type"] == "reasoning":
            print(block.get("reasoning"), block.get("extras"))
    model.invoke([HumanMessage("hi")], stop=["END"], max_tokens=100, temperature=0.5, seed=1)
    for chunk in model.stream(
        "What is 17 * 23?", config={"callbacks": [Takeovers(), OpenTelemetryHandler(texts=True)]}
    ):
        print(chunk.text, end="")
    assert_type(without_reasoning([message])[0], BaseMessage)
    for reply in model.batch(["What is 17 * 23?"]):
        print(reply.text)


async def asynchronous(model: ChatSpeculativeThinking) -> None:
    assert_type(await model.ainvoke("What is 17 * 23?"), AIMessage)
    async for chunk in model.astream("What is 17 * 23?"):
        print(chunk.text)
    async for event in model.astream_events("What is 17 * 23?", version="v2"):
        print(event["event"], event["data"])


class Takeovers(BaseCallbackHandler):
    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        print(name, data["tokens"], "tokens")


def tools(model: ChatSpeculativeThinking) -> None:
    bound = model.bind_tools([weather, Weather], tool_choice="any", parallel_tool_calls=False, strict=True)
    reply = bound.invoke([HumanMessage("What is the weather like in Bonn?")])
    call = reply.tool_calls[0]
    bound.invoke([reply, ToolMessage(weather(**call["args"]), tool_call_id=call["id"])])
    for chunk in bound.stream("What is the weather like in Bonn?"):
        print(chunk.text)


def structured_output(model: ChatSpeculativeThinking) -> None:
    print(model.with_structured_output(Weather).invoke("The sun shines in Bonn today."))
    model.with_structured_output(Weather, method="function_calling", include_raw=True, strict=True)
    model.with_structured_output({"title": "city", "type": "object"}, method="json_mode")


# --- Agents, chains, caches


def agents(model: ChatSpeculativeThinking) -> None:
    create_agent(model, tools=[weather], response_format=ToolStrategy(Weather))
    create_agent(model, middleware=[SummarizationMiddleware(model=model, trigger=("fraction", 0.8))])
    create_deep_agent(model=model)


def runnables(strict: ChatSpeculativeThinking, safe: ChatSpeculativeThinking) -> None:
    strict.with_fallbacks([safe]).with_retry(retry_if_exception_type=(ModelError,)).invoke("Order tea.")
    model = strict.configurable_fields(
        policy=ConfigurableField(id="policy"), answer_by=ConfigurableField(id="answer_by")
    )
    model.invoke("Order tea.", {"configurable": {"answer_by": "target"}})
    either = strict.configurable_alternatives(ConfigurableField(id="model"), default_key="careful", quick=safe)
    either.with_config(configurable={"model": "quick"}).invoke("hi")


# --- Traces, records, evaluation


def traces(message: AIMessage) -> None:
    Trace.of(message, "question").save("run.json")


def records(model: ChatSpeculativeThinking) -> None:
    with recording("runs.jsonl"):
        model.invoke("hi")
    with recording("runs.jsonl", texts=False):
        model.invoke("hi")
    record = read_records("runs.jsonl")[-1]
    assert_type(record, Record)
    other = replay(record, DelegationPolicy(takeover_tokens=40))
    print(other.valid, other.difference, other.turn.thinking)


def evaluation(model: ChatSpeculativeThinking) -> None:
    variants = [alone(model, "speculative", "small"), alone(model, "target", "target"), Variant("pair", model)]
    found = evaluate(load_questions("pocket:3"), variants, "evaluation")
    print(sum(found.figures["pair"].is_right), found.tests["pair", "small"].p)

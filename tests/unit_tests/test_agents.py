"""Agents, graphs and wrappers of LangChain around a pair."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    wrap_model_call,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from langchain_spec_thinking import ChatSpeculativeThinking, pocket
from langchain_spec_thinking.backends.base import Backend, Event, Piece, Request
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.policy import DelegationPolicy
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests import errand
from tests.unit_tests.backends import tiny
from tests.unit_tests.errand import ANSWER, QUESTION, RECEIPT, TOOLS, Receipt, pair

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import Generation
    from langchain_core.runnables import RunnableConfig

    from langchain_spec_thinking.turn import Turn


def steps(messages: Sequence[BaseMessage]) -> list[str]:
    """What an agent did: the tools it called and what they said, and what it said in the end."""
    called = [call["name"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    return called + [message.text for message in messages if isinstance(message, ToolMessage)] + [messages[-1].text]


ERRAND = ["price", "exchange", "order", "3.5", "7.0", "ordered tea for 7.0", ANSWER]


def report(message: AIMessage) -> dict[str, Any]:
    told: dict[str, Any] = message.response_metadata["speculative_thinking"]
    return told


# -- agents


@pytest.mark.parametrize("think_before_tools", [True, False])
@pytest.mark.parametrize("answer_by", ["speculative", "target"])
async def test_an_agent_finishes_a_task_of_three_tools(answer_by: str, think_before_tools: bool) -> None:
    settings: dict[str, Any] = {"answer_by": answer_by, "think_before_tools": think_before_tools}
    if answer_by == "target":
        settings["target"] = ScriptedBackend(answering_target, name="large", thinks=True)
    agent = create_agent(pair(**settings), tools=TOOLS)
    for state in (agent.invoke(QUESTION), await agent.ainvoke(QUESTION)):
        messages = state["messages"]
        assert steps(messages) == ERRAND
        replies = [message for message in messages if isinstance(message, AIMessage)]
        assert [report(reply)["takeovers"] for reply in replies] == [int(think_before_tools)] * 4
        assert {report(reply)["segments"][-1]["author"] for reply in replies} == {answer_by}


def answering_target(turn: Turn) -> str:
    return errand.small(turn) if turn.channel == "answer" else errand.TAKEN_OVER


@pytest.mark.parametrize("strategy", [ToolStrategy(Receipt), ProviderStrategy(Receipt), Receipt])
@pytest.mark.parametrize("tools", [TOOLS, []], ids=["with tools", "without"])
def test_an_agents_answer_has_a_form(strategy: Any, tools: list[Any]) -> None:
    model = pair() if tools else pair(speculative=ScriptedBackend(only_the_receipt, name="small"))
    state = create_agent(model, tools=tools, response_format=strategy).invoke(QUESTION)
    assert state["structured_response"] == RECEIPT


def only_the_receipt(turn: Turn) -> str:
    return RECEIPT.model_dump_json() if turn.tools is None else errand.call("Receipt", **RECEIPT.model_dump())


def test_a_form_is_asked_for_as_the_profile_says_it_can_be() -> None:
    """`create_agent` reads the profile: without it, it would fall back on a tool."""
    asked: list[Any] = []
    model = pair(speculative=ScriptedBackend(lambda turn: asked.append(turn.schema) or "{}", name="small"))  # type: ignore[func-returns-value]
    agent = create_agent(model, tools=[], response_format=ToolStrategy(Receipt))
    with pytest.raises(Exception, match="GRAPH_RECURSION_LIMIT"):  # no tool is ever called
        agent.invoke(QUESTION, {"recursion_limit": 3})
    assert asked.pop() is None
    with pytest.raises(Exception, match="Receipt"):
        create_agent(model, tools=[], response_format=Receipt).invoke(QUESTION)
    assert asked.pop()["name"] == "Receipt"


class Verdict(BaseModel):
    """A number, and whether it is even."""

    number: Literal[8, 9]
    even: bool


@pytest.mark.parametrize("strategy", [ToolStrategy(Verdict), ProviderStrategy(Verdict)])
def test_a_pair_without_a_word_of_json_fills_in_a_form(strategy: Any) -> None:
    """The pocket models know word problems only; a grammar holds them to the schema."""
    agent = create_agent(ChatSpeculativeThinking.pocket(think_before_tools=False), tools=[], response_format=strategy)
    state = agent.invoke({"messages": [HumanMessage(pocket.problems()[0].question)]})
    assert isinstance(state["structured_response"], Verdict)


def test_a_deep_agent_plans_and_keeps_files() -> None:
    script = {
        0: errand.call("write_file", file_path="/plan.md", content="Ask for the price."),
        1: errand.call("task", description="Say what tea costs.", subagent_type="general-purpose"),
        2: errand.call("read_file", file_path="/plan.md"),
    }

    def small(turn: Turn) -> str:
        asked = next(message.content for message in turn.history if message.role == "user")
        results = [message for message in turn.history if message.role == "tool"]
        if asked == "Say what tea costs.":  # the agent that the agent asks
            return errand.thinking(turn, "Tea costs 3.5." if results else errand.call("price", item="tea"))
        return errand.thinking(turn, script.get(len(results), ANSWER))

    agent = create_deep_agent(model=pair(speculative=ScriptedBackend(small, name="small", thinks=True)), tools=TOOLS)
    state = agent.invoke(QUESTION)
    assert steps(state["messages"])[3:] == [
        "Updated file /plan.md",
        "Tea costs 3.5.",
        "@@ lines 1-1 of 1 @@\nAsk for the price.",
        ANSWER,
    ]
    assert list(state["files"]) == ["/plan.md"]


def test_a_local_pair_is_an_agents_model() -> None:
    """Random weights, held to the schema of the one tool there is; the model and its tools run for real."""
    backend = tiny.backend(tiny.llama(vocabulary=len(tiny.byte_tokenizer()), context=4096))
    picked: list[tuple[int, str]] = []

    @tool
    def pick(size: Literal[1, 2], colour: Literal["red", "green"]) -> str:
        """Pick something."""
        picked.append((size, colour))
        return f"picked {colour}"

    model = ChatSpeculativeThinking(speculative=backend, target=backend, max_tokens=60, seed=1)
    agent = create_agent(model, tools=[pick], middleware=[must_call_first])
    *_, told, last = agent.invoke({"messages": [HumanMessage("hi")]})["messages"]
    assert picked[0] in itertools.product((1, 2), ("red", "green"))
    assert told.content == f"picked {picked[0][1]}"
    assert isinstance(last, AIMessage)


@wrap_model_call
def must_call_first(request: Any, handler: Any) -> Any:
    """Random weights would never call a tool by themselves."""
    return handler(request.override(tool_choice="any" if len(request.messages) == 1 else "none"))


# -- streams


Streamed = dict[str | None, AIMessageChunk]


def merged(chunks: Iterable[AIMessageChunk]) -> Streamed:
    """Put the chunks of each message together."""
    by_message: dict[str | None, list[AIMessageChunk]] = defaultdict(list)
    for chunk in chunks:
        by_message[chunk.id].append(chunk)
    return {id_: first if not rest else sum_of(first, rest) for id_, (first, *rest) in by_message.items()}


def sum_of(first: AIMessageChunk, rest: list[AIMessageChunk]) -> AIMessageChunk:
    for chunk in rest:
        first += chunk
    return first


def thought(message: AIMessage) -> str:
    return "".join(str(b["reasoning"]) for b in message.content_blocks if b["type"] == "reasoning")


def checked(chunks: list[Any], state: dict[str, Any]) -> None:
    """Hold what was streamed to what the agent has in the end: every token once, usage once, and nothing else."""
    tokens = [chunk for chunk in chunks if isinstance(chunk, AIMessageChunk)]
    replies = {message.id: message for message in state["messages"] if isinstance(message, AIMessage)}
    streamed = merged(tokens)
    assert list(streamed) == list(replies)
    for id_, reply in replies.items():
        whole = streamed[id_]
        assert whole.text == reply.text
        assert thought(whole) == thought(reply) == "".join(errand.THOUGHT)
        assert [call["name"] for call in whole.tool_calls] == [call["name"] for call in reply.tool_calls]
        assert whole.usage_metadata == reply.usage_metadata
        assert sum(chunk.usage_metadata is not None for chunk in tokens if chunk.id == id_) == 1
    others = [chunk for chunk in chunks if not isinstance(chunk, AIMessageChunk)]
    assert all(isinstance(other, ToolMessage) for other in others)
    assert len(others) == 3
    assert len([chunk for chunk in tokens if chunk.text]) == len(errand_words(replies.values()))


def errand_words(replies: Iterable[AIMessage]) -> list[str]:
    """The tokens of the answers, as the scripted models count them."""
    return [word for reply in replies for word in ScriptedBackend().tokenize(reply.text) if word.strip()]


@pytest.mark.parametrize("output_version", ["v0", "v1"])
@pytest.mark.parametrize("modes", [["messages", "values"], ["messages", "updates", "values", "custom"]])
async def test_langgraph_streams_every_token_once(
    output_version: str, modes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_OUTPUT_VERSION", output_version)
    agent = create_agent(pair(), tools=TOOLS)
    runs: list[list[Any]] = [
        list(agent.stream(QUESTION, stream_mode=modes)),
        [part async for part in agent.astream(QUESTION, stream_mode=modes)],
    ]
    for run in runs:
        last = [data for mode, data in run if mode == "values"][-1]
        assert steps(last["messages"]) == ERRAND
        checked([data[0] for mode, data in run if mode == "messages"], last)


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_callbacks_count_what_was_used_once(how: str) -> None:
    counter = UsageMetadataCallbackHandler()
    agent: Any = create_agent(pair(), tools=TOOLS)
    if how == "invoke":
        messages = agent.invoke(QUESTION, {"callbacks": [counter]})["messages"]
    else:
        *_, (_, state) = agent.stream(QUESTION, {"callbacks": [counter]}, stream_mode=["messages", "values"])
        messages = state["messages"]
    used = [message.usage_metadata for message in messages if isinstance(message, AIMessage)]
    totals = [usage["total_tokens"] for usage in used if usage]
    assert len(totals) == 4
    assert counter.usage_metadata["small + large"]["total_tokens"] == sum(totals)


@pytest.mark.parametrize("output_version", ["v0", "v1"])
def test_nothing_of_chat_models_inside_a_pair_is_streamed(output_version: str) -> None:
    """The inner models write what is dropped too; only the pair's own message is seen."""
    inner = [
        GenericFakeChatModel(messages=itertools.repeat(AIMessage(text)))
        for text in ("One step.\n\nWait, another.\n\nDone.", "Indeed it is. ")
    ]
    model = ChatSpeculativeThinking(speculative=inner[0], target=inner[1], max_tokens=12, output_version=output_version)

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph: Any = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile()
    counter = UsageMetadataCallbackHandler()
    parts = list(graph.stream(QUESTION, {"callbacks": [counter]}, stream_mode=["messages", "values"]))
    reply = [data for mode, data in parts if mode == "values"][-1]["messages"][-1]
    (whole,) = merged([data[0] for mode, data in parts if mode == "messages"]).values()
    assert report(reply)["takeovers"]
    assert whole.text == reply.text
    assert whole.usage_metadata == reply.usage_metadata
    assert list(counter.usage_metadata) == [model.model_name]


# -- wrappers


class Down(Backend):
    """A model that cannot be reached; `failures` times, then it can."""

    def __init__(self, failures: float = float("inf")) -> None:
        self.name = "down"
        self.failures = failures

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        if self.failures > 0:
            self.failures -= 1
            msg = "nobody is there"
            error = BackendError(msg)
            error.is_retryable = True
            raise error
        yield Piece("Here I am.")


def test_a_fallback_answers_where_the_target_is_down() -> None:
    model = pair(target=Down(), on_target_failure="raise")
    with pytest.raises(BackendError, match="nobody is there"):
        model.invoke("hi")
    other = ChatSpeculativeThinking(speculative=ScriptedBackend("By the other."), target=ScriptedBackend())
    assert model.with_fallbacks([other]).invoke("hi").text == "By the other."
    assert pair(target=Down()).invoke("hi", max_tokens=90).response_metadata["speculative_thinking"]["degraded"]


def test_a_fallback_has_the_same_tools_and_forms() -> None:
    model = pair(target=Down(), on_target_failure="raise").with_fallbacks([pair()])
    assert [call["name"] for call in model.bind_tools(TOOLS).invoke("tea").tool_calls] == ["price"]
    form = pair(speculative=ScriptedBackend(only_the_receipt))
    down = pair(target=Down(), answer_by="target", on_target_failure="raise")
    assert down.with_fallbacks([form]).with_structured_output(Receipt).invoke("tea") == RECEIPT


def test_middleware_falls_back_and_tries_again() -> None:
    down = pair(target=Down(), on_target_failure="raise")
    agent = create_agent(down, tools=TOOLS, middleware=[ModelFallbackMiddleware(pair())])
    assert steps(agent.invoke(QUESTION)["messages"]) == ERRAND
    shaky = pair(speculative=Down(failures=2))
    again = ModelRetryMiddleware(max_retries=2, retry_on=(ModelError,), initial_delay=0, jitter=False)
    assert create_agent(shaky, middleware=[again]).invoke(QUESTION)["messages"][-1].text == "Here I am."


@pytest.mark.parametrize("attempts", [2, 3])
def test_retries_are_for_errors_of_models(attempts: int) -> None:
    model = pair(speculative=Down(failures=2)).with_retry(
        retry_if_exception_type=(ModelError,), stop_after_attempt=attempts, wait_exponential_jitter=False
    )
    if attempts == 3:
        assert model.invoke("hi").text == "Here I am."
    else:
        with pytest.raises(BackendError, match="nobody is there"):
            model.invoke("hi")


def test_settings_can_be_chosen_call_by_call() -> None:
    small = ScriptedBackend("Yes.", name="small")
    model = pair(speculative=small).configurable_fields(
        temperature=ConfigurableField(id="heat"), policy=ConfigurableField(id="policy")
    )
    config: RunnableConfig = {"configurable": {"heat": 0.1, "policy": DelegationPolicy.non_reasoning()}}
    assert report(model.invoke("hi"))["segments"][0]["author"] == "speculative"
    assert report(model.invoke("hi", config))["segments"][0]["author"] == "target"  # who opens the answer there
    assert {request.temperature for request, _ in small.requests} == {0.1, 0.6}
    with pytest.raises(ValueError, match="temperature"):
        model.invoke("hi", {"configurable": {"heat": -1}})


def test_a_pair_can_be_chosen_call_by_call() -> None:
    model = pair(speculative=ScriptedBackend("By the pair.")).configurable_alternatives(
        ConfigurableField(id="model"),
        default_key="pair",
        other=pair(speculative=ScriptedBackend("By the other.")),
    )
    assert model.invoke("hi").text == "By the pair."
    assert model.with_config(configurable={"model": "other"}).invoke("hi").text == "By the other."


# -- caches


class SQLiteCache(BaseCache):
    """A cache that keeps messages as text, as those in databases do."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect(":memory:", check_same_thread=False)
        self._rows.execute("CREATE TABLE rows (prompt, llm, generations, PRIMARY KEY (prompt, llm))")

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        found = self._rows.execute("SELECT generations FROM rows WHERE prompt = ? AND llm = ?", (prompt, llm_string))
        row = found.fetchone()
        return None if row is None else [loads(text, allowed_objects="core") for text in json.loads(row[0])]

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        text = json.dumps([dumps(generation) for generation in return_val])
        self._rows.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", (prompt, llm_string, text))

    def clear(self, **kwargs: Any) -> None:
        self._rows.execute("DELETE FROM rows")

    def close(self) -> None:
        self._rows.close()


VARIANTS: dict[str, Any] = {
    "as it is": lambda model: model,
    "tools": lambda model: model.bind_tools(TOOLS),
    "fewer tools": lambda model: model.bind_tools(TOOLS[:1]),
    "choice": lambda model: model.bind_tools(TOOLS, tool_choice="none"),
    "one at a time": lambda model: model.bind_tools(TOOLS, parallel_tool_calls=False),
    "form": lambda model: model.bind(response_format={"type": "json_object"}),
    "another form": lambda model: model.with_structured_output(Receipt, include_raw=True),
    "call's setting": lambda model: model.bind(temperature=0),
    "stop": lambda model: model.bind(stop=["x"]),
    "answer_by": lambda model: model.model_copy(update={"answer_by": "target"}),
    "think_before_tools": lambda model: model.model_copy(update={"think_before_tools": False}),
    "policy": lambda model: model.model_copy(update={"policy": DelegationPolicy(takeover_tokens=3)}),
    "target": lambda model: model.model_copy(update={"target": ScriptedBackend("They are, ", name="larger")}),
}


@pytest.mark.parametrize("kept", [InMemoryCache, SQLiteCache])
def test_a_cache_tells_apart_all_that_changes_the_answer(kept: type[BaseCache]) -> None:
    cache, asked = kept(), itertools.count(1)
    written: list[int] = []

    def small(_: Turn) -> str:
        written.append(next(asked))
        return '{"item": "tea", "euros": 1}'

    model = pair(speculative=ScriptedBackend(small, name="small"), target=ScriptedBackend(small, name="large"))
    model = model.model_copy(update={"cache": cache})
    for variant in VARIANTS.values():
        before = len(written)
        variant(model).invoke("hi")
        assert len(written) > before
    before = len(written)
    for variant in VARIANTS.values():
        variant(model).invoke("hi")
    assert len(written) == before
    if isinstance(cache, SQLiteCache):
        cache.close()


@pytest.mark.parametrize("kept", [InMemoryCache, SQLiteCache])
def test_what_a_cache_gives_back_is_the_message(kept: type[BaseCache]) -> None:
    cache = kept()
    model = pair(cache=cache)
    first, second = (model.bind_tools(TOOLS).invoke("tea") for _ in range(2))
    assert second.content == first.content
    assert second.tool_calls == first.tool_calls
    assert report(second) == report(first)
    assert len(model.speculative.requests) == report(first)["usage"]["speculative"]["requests"]  # type: ignore[attr-defined]
    if isinstance(cache, SQLiteCache):
        cache.close()


# -- long histories


def summarizing(model: ChatSpeculativeThinking, **settings: Any) -> SummarizationMiddleware:
    return SummarizationMiddleware(model=model, token_counter=lambda _: 0, keep=("messages", 2), **settings)


def test_usage_is_that_of_the_history_and_not_what_was_paid() -> None:
    """Every takeover reads the prompt again; that is paid for, but it is not in the history."""
    model = pair()
    reply = create_agent(model, tools=TOOLS).invoke(QUESTION)["messages"][-1]
    usage = report(reply)["usage"]
    logical = reply.usage_metadata["total_tokens"]
    billed = sum(side["prompt_tokens"] + side["completion_tokens"] for side in usage.values())
    assert billed > 2 * logical


@pytest.mark.parametrize(("threshold", "summarized"), [(10_000, False), (60, True)])
def test_a_history_is_summarized_when_it_is_long(threshold: int, summarized: bool) -> None:
    summaries: list[str] = []

    def small(turn: Turn) -> str:
        asked = turn.history[-1].content
        if asked.startswith("What of tea"):
            return "Tea is fine. " * 3
        summaries.append(asked)
        return "We spoke of tea."

    model = ChatSpeculativeThinking(speculative=ScriptedBackend(small), target=ScriptedBackend())
    agent = create_agent(
        model, middleware=[summarizing(model, trigger=("tokens", threshold))], checkpointer=InMemorySaver()
    )
    for number in range(12):
        state = agent.invoke(
            {"messages": [HumanMessage(f"What of tea {number}?")]}, {"configurable": {"thread_id": "1"}}
        )
    assert (len(summaries) > 0) == summarized
    assert (len(state["messages"]) < 24) == summarized


def context_of(model: ChatSpeculativeThinking) -> int | None:
    return (model.profile or {}).get("max_input_tokens")


def test_a_share_of_the_context_is_a_share_of_the_smaller_one() -> None:
    models: list[Any] = [
        tiny.backend(tiny.llama(context=2048)),
        tiny.backend(tiny.llama(context=512)),
        GenericFakeChatModel(messages=iter(()), profile={"max_input_tokens": 512}),
    ]
    for small, large in itertools.permutations(models, 2):
        model = ChatSpeculativeThinking(speculative=small, target=large)
        assert context_of(model) == 512
        summarizing(model, trigger=("fraction", 0.5))  # refuses a model that does not say
    assert context_of(ChatSpeculativeThinking(speculative=models[0], target=ScriptedBackend())) == 2048
    with pytest.raises(ValueError, match="profile"):
        summarizing(pair(), trigger=("fraction", 0.5))

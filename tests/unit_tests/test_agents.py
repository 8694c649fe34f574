"""Tests of a pair in agents and graphs."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import pytest
from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware, wrap_model_call
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from langchain_spec_thinking import ChatSpeculativeThinking, pocket
from langchain_spec_thinking.testing import ScriptedBackend
from tests.unit_tests import tool_task
from tests.unit_tests.backends import tiny
from tests.unit_tests.tool_task import (
    ANSWER,
    QUESTION,
    RECEIPT,
    TASK_STEPS,
    TOOLS,
    Receipt,
    only_the_receipt,
    pair,
    report,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_spec_thinking.turn import Turn


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
        assert steps(messages) == TASK_STEPS
        replies = [message for message in messages if isinstance(message, AIMessage)]
        assert [report(reply)["takeovers"] for reply in replies] == [int(think_before_tools)] * 4
        assert {report(reply)["segments"][-1]["author"] for reply in replies} == {answer_by}


def answering_target(turn: Turn) -> str:
    return tool_task.small(turn) if turn.channel == "answer" else tool_task.TAKEN_OVER


@pytest.mark.parametrize("strategy", [ToolStrategy(Receipt), ProviderStrategy(Receipt), Receipt])
@pytest.mark.parametrize("tools", [TOOLS, []], ids=["with tools", "without"])
def test_an_agent_returns_structured_output(strategy: Any, tools: list[Any]) -> None:
    model = pair() if tools else pair(speculative=ScriptedBackend(only_the_receipt, name="small"))
    state = create_agent(model, tools=tools, response_format=strategy).invoke(QUESTION)
    assert state["structured_response"] == RECEIPT


def test_the_profile_decides_how_structured_output_is_requested() -> None:
    """`create_agent` reads the profile. Without the profile, it would use a tool for structured output."""
    schemas: list[Any] = []
    model = pair(speculative=ScriptedBackend(lambda turn: schemas.append(turn.schema) or "{}", name="small"))  # type: ignore[func-returns-value]
    agent = create_agent(model, tools=[], response_format=ToolStrategy(Receipt))
    with pytest.raises(GraphRecursionError):  # because the model never calls the tool
        agent.invoke(QUESTION, {"recursion_limit": 3})
    assert schemas.pop() is None
    with pytest.raises(Exception, match="Receipt"):
        create_agent(model, tools=[], response_format=Receipt).invoke(QUESTION)
    assert schemas.pop()["name"] == "Receipt"


class Verdict(BaseModel):
    """A number, and whether it is even."""

    number: Literal[8, 9]
    even: bool


@pytest.mark.parametrize("strategy", [ToolStrategy(Verdict), ProviderStrategy(Verdict)])
def test_a_pair_that_never_learned_json_returns_structured_output(strategy: Any) -> None:
    """The pocket models have learned only word problems. A grammar makes them follow the schema."""
    agent = create_agent(ChatSpeculativeThinking.pocket(think_before_tools=False), tools=[], response_format=strategy)
    state = agent.invoke({"messages": [HumanMessage(pocket.problems()[0].question)]})
    assert isinstance(state["structured_response"], Verdict)


def test_a_deep_agent_plans_and_keeps_files() -> None:
    script = {
        0: tool_task.call("write_file", file_path="/plan.md", content="Ask for the price."),
        1: tool_task.call("task", description="Say what tea costs.", subagent_type="general-purpose"),
        2: tool_task.call("read_file", file_path="/plan.md"),
    }

    def small(turn: Turn) -> str:
        question = next(message.content for message in turn.history if message.role == "user")
        results = [message for message in turn.history if message.role == "tool"]
        if question == "Say what tea costs.":  # this is the turn of the subagent
            return tool_task.thinking(turn, "Tea costs 3.5." if results else tool_task.call("price", item="tea"))
        return tool_task.thinking(turn, script.get(len(results), ANSWER))

    agent = create_deep_agent(model=pair(speculative=ScriptedBackend(small, name="small", thinks=True)), tools=TOOLS)
    state = agent.invoke(QUESTION)
    written, said, read, answer = steps(state["messages"])[3:]
    assert "/plan.md" in written
    assert said == "Tea costs 3.5."
    assert "Ask for the price." in read
    assert answer == ANSWER
    assert list(state["files"]) == ["/plan.md"]


def test_a_local_pair_is_an_agents_model() -> None:
    """The weights are random, and a grammar enforces the schema of the only tool. Model and tool really run."""
    backend = tiny.backend(tiny.llama(vocabulary=len(tiny.byte_tokenizer()), context=4096))
    picked: list[tuple[int, str]] = []

    @tool
    def pick(size: Literal[1, 2], colour: Literal["red", "green"]) -> str:
        """Pick something."""
        picked.append((size, colour))
        return f"picked {colour}"

    model = ChatSpeculativeThinking(speculative=backend, target=backend, max_tokens=60, seed=1)
    agent = create_agent(model, tools=[pick], middleware=[must_call_first])
    *_, result, last = agent.invoke({"messages": [HumanMessage("hi")]})["messages"]
    assert picked[0] in itertools.product((1, 2), ("red", "green"))
    assert result.content == f"picked {picked[0][1]}"
    assert isinstance(last, AIMessage)


@wrap_model_call
def must_call_first(request: Any, handler: Any) -> Any:
    """Force a tool call in the first step, since a model with random weights would never call a tool."""
    return handler(request.override(tool_choice="any" if len(request.messages) == 1 else "none"))


# -- streams


Streamed = dict[str | None, AIMessageChunk]


def merged(chunks: Iterable[AIMessageChunk]) -> Streamed:
    """Join the chunks of each message."""
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


def check_stream(chunks: list[Any], state: dict[str, Any]) -> None:
    """Check that the stream holds each token and each usage of the agent's messages once, and nothing else."""
    tokens = [chunk for chunk in chunks if isinstance(chunk, AIMessageChunk)]
    replies = {message.id: message for message in state["messages"] if isinstance(message, AIMessage)}
    streamed = merged(tokens)
    assert list(streamed) == list(replies)
    for id_, reply in replies.items():
        whole = streamed[id_]
        assert whole.text == reply.text
        assert thought(whole) == thought(reply) == "".join(tool_task.THOUGHT)
        assert [call["name"] for call in whole.tool_calls] == [call["name"] for call in reply.tool_calls]
        assert whole.usage_metadata == reply.usage_metadata
        assert sum(chunk.usage_metadata is not None for chunk in tokens if chunk.id == id_) == 1
    others = [chunk for chunk in chunks if not isinstance(chunk, AIMessageChunk)]
    assert all(isinstance(other, ToolMessage) for other in others)
    assert len(others) == 3
    assert len([chunk for chunk in tokens if chunk.text]) == len(answer_words(replies.values()))


def answer_words(replies: Iterable[AIMessage]) -> list[str]:
    """Return the tokens of the answers in the vocabulary of the scripted models."""
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
        assert steps(last["messages"]) == TASK_STEPS
        check_stream([data[0] for mode, data in run if mode == "messages"], last)


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_callbacks_count_usage_once(how: str) -> None:
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
def test_messages_of_inner_chat_models_are_not_streamed(output_version: str) -> None:
    """The inner models also write text that is dropped. The stream holds only the message of the pair."""
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


# -- long histories


def summarizing(model: ChatSpeculativeThinking, **settings: Any) -> SummarizationMiddleware:
    return SummarizationMiddleware(model=model, token_counter=lambda _: 0, keep=("messages", 2), **settings)


def test_usage_metadata_counts_the_history_and_not_the_billed_tokens() -> None:
    """Every takeover reads the prompt again. These tokens are billed, but they are not in the history."""
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
        question = turn.history[-1].content
        if question.startswith("What of tea"):
            return "Tea is fine. " * 3
        summaries.append(question)
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


def test_the_context_of_a_pair_is_the_smaller_one() -> None:
    models: list[Any] = [
        tiny.backend(tiny.llama(context=2048)),
        tiny.backend(tiny.llama(context=512)),
        GenericFakeChatModel(messages=iter(()), profile={"max_input_tokens": 512}),
    ]
    for small, large in itertools.permutations(models, 2):
        model = ChatSpeculativeThinking(speculative=small, target=large)
        assert context_of(model) == 512
        summarizing(model, trigger=("fraction", 0.5))  # raises an error if the profile has no `max_input_tokens`
    assert context_of(ChatSpeculativeThinking(speculative=models[0], target=ScriptedBackend())) == 2048
    with pytest.raises(ValueError, match="profile"):
        summarizing(pair(), trigger=("fraction", 0.5))

"""Compare a small model, a large one, and `DelegationPolicy.gated()` in an agent with three tools."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage

from benchmarks.pays.agent_tasks import EXAMPLES, INSTRUCTIONS, TASKS, Answer, Shop
from benchmarks.pays.llama_servers import run_with_servers
from langchain_spec_thinking import DelegationPolicy
from langchain_spec_thinking.evaluation import alone
from langchain_spec_thinking.evaluation.statistics import mcnemar, wilson
from langchain_spec_thinking.jsonl import LineAppender, read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.turn import Author

GATED: Final = "gated"
KEPT: Final = Path(__file__).with_suffix(".jsonl")
"""What the agents did in the run whose figures docs/agents.md shows."""
_CALLS_MAX: Final = 5
"""Most calls of the model in one task. No task needs more than four."""
_TOKENS_MAX: Final = 100
"""Most tokens of one reply. Two calls of tools take about 60."""
_SECONDS_MAX: Final = 600.0
"""Time limit of one call of the model, in seconds."""
_MAKING_TOOLS: Final = threading.Lock()
"""LangChain changes the filters of warnings while it makes a tool, and all threads share these filters."""
_SIDES: Final[tuple[Author, ...]] = ("speculative", "target")
_USED: Final = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens")


def agent_models(pair: ChatSpeculativeThinking) -> dict[str, ChatSpeculativeThinking]:
    """Return the models that are compared: each model of the pair alone, and the pair with `gated()`."""
    limited = pair.model_copy(update={"timeout": _SECONDS_MAX, "max_tokens": _TOKENS_MAX})
    models = {name: alone(limited, side, name).model for side, name in zip(_SIDES, ("small", "large"), strict=True)}
    return {**models, GATED: limited.model_copy(update={"policy": DelegationPolicy.gated()})}


def run_agents(pair: ChatSpeculativeThinking, folder: Path) -> dict[str, Any]:
    """Let an agent do every task with every model. Finished tasks in `folder` do not run again.

    The models work at the same time, and each does one task after the other. So the servers keep the instructions.

    Args:
        pair: Both models.
        folder: Folder for `agents.jsonl`, which holds one line for each model and task.

    Returns:
        The figures of each model, for `build/pays.json`.
    """
    file = folder / "agents.jsonl"
    done = {(line["model"], line["task"]): line for _, line in read_lines(file)} if file.exists() else {}
    append, models = LineAppender(file), agent_models(pair)

    def lines_of(name: str) -> list[dict[str, Any]]:
        for number in range(len(TASKS)):
            if (name, number) not in done:
                done[name, number] = _do(name, models[name], number)
                append(json.dumps(done[name, number], ensure_ascii=False))
        return [done[name, number] for number in range(len(TASKS))]

    with ThreadPoolExecutor(len(models)) as pool:
        return agent_figures(dict(zip(models, pool.map(lines_of, models), strict=True)))


def agent_figures(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the figures of each model. Tokens, requests and seconds are means per task."""
    runs = {}
    for name, tasks in lines.items():
        success = wilson(sum(task["right"] for task in tasks), len(tasks))
        runs[name] = {
            "success": success.value,
            "ci95": [success.low, success.high],
            "errors": sum(task["error"] is not None for task in tasks),
            "seconds": fmean(task["seconds"] for task in tasks),
            "calls": fmean(task["calls"] for task in tasks),
            "escalated": fmean(task["escalated"] for task in tasks),
            **{
                f"{side}_{used}": fmean(_of_side(task, side)[used] for task in tasks)
                for side in _SIDES
                for used in ("requests", "prompt_tokens", "completion_tokens")
            },
        }
    rights = {name: [task["right"] for task in tasks] for name, tasks in lines.items()}
    tests = {other: vars(mcnemar(rights[GATED], rights[other])) for other in ("small", "large")}
    return {"n": len(TASKS), "runs": runs, "gated_vs": tests}


def _of_side(task: Mapping[str, Any], side: str) -> dict[str, int]:
    """Return the usage of one side. A model that is alone is used on both sides of its pair."""
    if task["model"] == GATED:
        return dict(task["usage"][side])
    mine = {"small": "speculative", "large": "target"}[task["model"]] == side
    return {used: sum(task["usage"][each][used] for each in _SIDES) if mine else 0 for used in _USED}


def _do(name: str, model: ChatSpeculativeThinking, number: int) -> dict[str, Any]:
    """Do one task, and return its line."""
    task, shop = TASKS[number], Shop()
    with _MAKING_TOOLS:
        agent = create_agent(
            model,
            tools=shop.tools(),
            system_prompt=INSTRUCTIONS,
            response_format=ToolStrategy(Answer),
            middleware=[ModelCallLimitMiddleware(run_limit=_CALLS_MAX, exit_behavior="error")],
        )
    asked: list[Any] = [*EXAMPLES, HumanMessage(task.wish)]
    state: dict[str, Any] = {"messages": asked}
    error, began = None, time.monotonic()
    try:
        for latest in agent.stream({"messages": asked}, stream_mode="values"):
            state = latest
    except Exception as e:  # noqa: BLE001 - one failed task must not end the comparison
        error = f"{type(e).__name__}: {e}"
    messages = state["messages"][len(EXAMPLES) :]
    answer = state.get("structured_response")
    replies = [message for message in messages if isinstance(message, AIMessage)]
    reports = [reply.response_metadata["speculative_thinking"] for reply in replies]
    return {
        "model": name,
        "task": number,
        "wish": task.wish,
        "right": error is None and task.succeeded(shop, answer),
        "error": error,
        "ordered": shop.ordered,
        "calls": sum(len(reply.tool_calls) for reply in replies),
        "escalated": sum(report["escalated"] is not None for report in reports),
        "usage": {side: {used: sum(r["usage"][side][used] or 0 for r in reports) for used in _USED} for side in _SIDES},
        "degraded": [problem for report in reports for problem in report["degraded"]],
        "seconds": time.monotonic() - began,
        "messages": [_shown(message) for message in messages],
    }


def _shown(message: Any) -> dict[str, Any]:  # noqa: ANN401 - any message of LangChain
    calls = getattr(message, "tool_calls", [])
    invalid = getattr(message, "invalid_tool_calls", [])
    return {"type": message.type, "text": message.text, "calls": calls, "invalid": invalid}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    run_with_servers(run_agents, "agents", __doc__, arguments)


if __name__ == "__main__":
    main()

"""`spec-thinking chat`: a conversation with a pair of models on the terminal."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from rich.markup import escape

from langchain_spec_thinking import DelegationPolicy, pocket, recording
from langchain_spec_thinking.cli import pairs
from langchain_spec_thinking.cli.console import console
from langchain_spec_thinking.cli.failures import exit_on_failure, held_log, message_of
from langchain_spec_thinking.cli.view import LEGEND, show, table
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.evaluation.policy_lines import FORM, parse_policy
from langchain_spec_thinking.viewing.trace import Trace

if TYPE_CHECKING:
    from langchain_spec_thinking import ChatSpeculativeThinking
    from langchain_spec_thinking.cli.failures import HeldLog

_EXAMPLE = 2
"""The pocket problem that is shown as an example, counted from 0."""


def chat(  # noqa: PLR0913, PLR0917 - options, which typer passes by name
    speculative: pairs.Speculative = None,
    target: pairs.Target = None,
    speculative_key_env: pairs.SpeculativeKeyEnv = None,
    target_key_env: pairs.TargetKeyEnv = None,
    max_tokens: pairs.MaxTokens = None,
    thinking_tokens: pairs.ThinkingTokens = None,
    temperature: pairs.Temperature = None,
    seed: pairs.Seed = None,
    answer_by: pairs.AnswerBy = "speculative",
    policy: Annotated[
        str | None, typer.Option(help=f"{FORM}, for example gated. Default: the policy that suits the small model.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Save the latest turn to this file. `show` reads it.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="Append every turn to this file. `show` and Python's `read_records` read it.")
    ] = None,
) -> None:
    """Chat with a pair of models. An empty line or Ctrl-D ends the conversation."""
    with exit_on_failure():
        mode, delegation = parse_policy(policy) if policy else (None, None)
        with console.status("loading ..."):
            model = pairs.pair(
                speculative,
                target,
                keys={"speculative": speculative_key_env, "target": target_key_env},
                policy=delegation,
                max_tokens=max_tokens,
                thinking_tokens=thinking_tokens,
                temperature=temperature,
                seed=seed,
                answer_by=answer_by,
            )
        if mode is None:
            mode = "reasoning mode" if model.policy == DelegationPolicy() else "non-reasoning mode"
        if speculative is None:
            console.print(
                "The pocket pair, which comes with the package. It solves word problems and nothing else, for example: "
                f"{pocket.problems()[_EXAMPLE].question}",
                markup=False,
            )
        console.print(f"{escape(mode)}, {LEGEND}")
        with recording(record) if record else nullcontext(), held_log() as log:
            _converse(model, save, log)


def _converse(model: ChatSpeculativeThinking, save: Path | None, log: HeldLog) -> None:
    messages: list[BaseMessage] = []
    while question := _read_question():
        messages.append(HumanMessage(question))
        try:
            run = show(console, model, messages)
        except (BackendError, KeyboardInterrupt) as e:
            error = "interrupted" if isinstance(e, KeyboardInterrupt) else message_of(e)
            console.print(f"\n{error}", style="red", markup=False)
            log.print_rest([error])
            messages.pop()
            continue
        messages.append(AIMessage(run.turn.answer))
        console.print(table(run.report))
        log.print_rest(run.report.degraded)
        if save:
            Trace.of_run(run, model.model_name).save(save)


def _read_question() -> str:
    try:
        return console.input("[bold]> [/bold]").strip()
    except (EOFError, KeyboardInterrupt):
        return ""

"""How a model is made to write the next text of a turn, and how its tool calls are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.replies.call_format import FREE_TEXT, AnswerGrammar, AnswerPlan

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.call_format import CallFormat
    from langchain_spec_thinking.turn import Turn


def plan_answer(turn: Turn, call_format: CallFormat) -> AnswerPlan:
    """Return the plan for a model that continues the text of a turn.

    Args:
        turn: The turn that is continued.
        call_format: The format in which the model writes calls.
    """
    plan = plan_reading(turn, call_format)
    if plan.tools and turn.answer_is_empty and plan.tools.choice != "auto":
        return call_format.plan_required_call(plan.tools)
    if turn.channel == "answer" and turn.tools is None and turn.schema is not None:
        schema = AnswerGrammar("json_schema", turn.schema.get("schema", {}))
        return AnswerPlan(grammar=schema, begun=f"{turn.answer}{turn.pending}".lstrip())
    return plan


def plan_reading(turn: Turn, call_format: CallFormat) -> AnswerPlan:
    """Return the plan for a text that another program prompts and constrains. Only the calls are read from the text.

    Args:
        turn: The turn that is continued.
        call_format: The format of the calls in the text.
    """
    if turn.tools is None or turn.tools.choice == "none" or turn.channel != "answer":
        return FREE_TEXT
    return AnswerPlan(call_format, turn.tools)

"""All states of the policy, and all transitions between them. `delegation.py` explains them, and changes the state."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """What the machine waits for."""

    IDLE = "the start of the turn"
    BEGIN = "the first characters, which may open a thought"
    WRITING = "text inside a step, which the leading model writes and which is committed as it arrives"
    DRAFT = "text after a boundary, which the leading model writes and which is held until a rule decides about it"
    SCORE = "a digit with which the target model scores a held step"
    TAKEOVER = "a sentence, step or verification of the other model, or an opening or a recap of the target model"
    CLOSING = "the end of the white space after the closing think tag"
    ANSWER = "an answer, which one model writes to its end"
    DONE = "nothing: the turn is over"


TRANSITIONS: Final[Mapping[State, Mapping[str, State]]] = {
    State.IDLE: {"the turn starts": State.BEGIN, "an answer is requested": State.ANSWER, "the turn ends": State.DONE},
    State.BEGIN: {
        "the policy has an opening": State.TAKEOVER,
        "the policy has no opening": State.WRITING,
        "the answer begins": State.ANSWER,
    },
    State.WRITING: {
        "a boundary arrives": State.DRAFT,
        "the author closes the thought and answers": State.CLOSING,
        "an answer is requested": State.ANSWER,
        "the other model begins the turn": State.BEGIN,
        "the turn ends": State.DONE,
    },
    State.DRAFT: {
        "the draft is kept": State.WRITING,
        "takeovers are stopped": State.WRITING,
        "the last takeover is too recent": State.WRITING,
        "the other model writes the rest": State.WRITING,
        "the trigger decides for a takeover": State.TAKEOVER,
        "the policy takes over at every boundary": State.TAKEOVER,
        "the sentence contains a verification cue": State.TAKEOVER,
        "the thought has too many reflections": State.TAKEOVER,
        "the trigger requests a score": State.SCORE,
        "the author closes the thought and answers": State.CLOSING,
        "an answer is requested": State.ANSWER,
        "the other model begins the turn": State.BEGIN,
        "the turn ends": State.DONE,
    },
    State.SCORE: {
        "the score is too low": State.TAKEOVER,
        "the other model writes the rest": State.WRITING,
        "the leading model continues at a boundary": State.DRAFT,
        "the leading model continues inside a step": State.WRITING,
        "an answer is requested": State.ANSWER,
        "the turn ends": State.DONE,
    },
    State.TAKEOVER: {
        "the sentence contains a verification cue": State.TAKEOVER,
        "the leading model continues at a boundary": State.DRAFT,
        "the leading model continues inside a step": State.WRITING,
        "the author closes the thought and answers": State.CLOSING,
        "an answer is requested": State.ANSWER,
        "the other model begins the turn": State.BEGIN,
        "the turn ends": State.DONE,
    },
    State.CLOSING: {
        "the answer begins": State.ANSWER,
        "another model continues": State.ANSWER,
        "the takeover continues in the answer": State.TAKEOVER,
        "the leading model continues at a boundary": State.DRAFT,
        "the leading model continues inside a step": State.WRITING,
    },
    State.ANSWER: {
        "an answer is requested": State.ANSWER,
        "the other model begins the turn": State.BEGIN,
        "the turn ends": State.DONE,
    },
    State.DONE: {},
}
"""For each state: the causes that end it, each with the next state."""

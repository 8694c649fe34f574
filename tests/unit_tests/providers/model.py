"""The model behind the fake providers. It is a function of the text that it is shown by a chat template."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from langchain_spec_thinking.turn import OPENING, THINK_CLOSE

Messages = list[dict[str, Any]]

THOUGHT = "I add them.\n\nWait, let me check that.\n\nTwo and three, that is five.\n\nYes, it is five, and so on."
ANSWER = (
    "The answer is five.\n\nWait, is that so? Three comes after two, and four after that, and then there is five, as "
    "everybody knows who counts.\n\nHmm, it is odd.\n\nSo it is prime, and that is all there is to say of it."
)
TEXTS = {"thinking": f"{OPENING}{THOUGHT}\n</think>\n\n{ANSWER}", "plain": ANSWER}

_ASSISTANT = "<|assistant|>"
_RECITES = re.compile(r"Write this sentence again and again: (.+)$")
_DRAFT = re.compile(r"<draft>\n(.*)</draft>", re.DOTALL)
_CUT_OFF = re.compile(r"cut off after these words:\n\n(.*)\n\nGo on", re.DOTALL)
_REPEATED = 24
"""How much of the given text the model repeats if it is instructed to continue, in characters."""


def shown_closed(messages: Messages) -> str:
    """Render messages so that all are closed and the assistant begins a new one."""
    return "".join(f"<|{m['role']}|>{m['content']}<|end|>" for m in messages) + _ASSISTANT


def shown_open(messages: Messages) -> str:
    """Render messages so that the last one, from the assistant, stays open."""
    thought, content = messages[-1].get("reasoning_content", ""), messages[-1]["content"]
    if thought:
        thought = f"{OPENING}{thought.rstrip()}\n{THINK_CLOSE}\n\n" if content else f"{OPENING}{thought}"
    return f"{shown_closed(messages[:-1])}{thought}{content}"


def shown_trailing(messages: Messages) -> str:
    """Render messages so that the last one stays open if it is from the assistant."""
    return (shown_open if messages[-1]["role"] == "assistant" else shown_closed)(messages)


def reply_so_far(shown: str) -> str:
    """Return what the assistant has written of its current message."""
    return shown.rpartition(_ASSISTANT)[2]


@dataclass
class Reciter:
    """A model that knows one text by heart.

    The model continues an open message, and otherwise begins the text anew. It also follows instructions as models do:
    if it is instructed to continue after some words, it repeats a few of them.
    """

    text: str

    def __call__(self, shown: str) -> str:
        """Return everything that the model would write from here on."""
        users = re.findall(r"<\|user\|>(.*?)<\|end\|>", shown, re.DOTALL) or [""]
        requested = _RECITES.match(users[0])
        text = " ".join([requested[1]] * 9) if requested else self.text
        if draft := _DRAFT.search(users[-1]):
            finished = f"{OPENING}{draft[1].rstrip()}\n{THINK_CLOSE}\n\n"
            return text.removeprefix(finished if "finished" in users[-1] else f"{OPENING}{draft[1]}")
        if cut_off := _CUT_OFF.search(users[-1]):
            end = text.index(cut_off[1]) + len(cut_off[1])
            return text[end - _REPEATED if end >= _REPEATED else end :]
        given = reply_so_far(shown)
        return text.removeprefix(given)

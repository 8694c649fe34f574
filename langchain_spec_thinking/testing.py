"""Test support: a backend without a model.

Use it to test your own chains. The tests of this package use it too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.base import Backend, End, Event, Request, Usage
from langchain_spec_thinking.backends.capabilities import IN_THIS_PROCESS, Capabilities
from langchain_spec_thinking.backends.replies.answer_plan import plan_reading
from langchain_spec_thinking.backends.replies.call_formats import HERMES
from langchain_spec_thinking.backends.replies.call_reader import CallReader
from langchain_spec_thinking.backends.replies.thought_reader import answer_thoughts

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_spec_thinking.backends.replies.call_format import CallFormat
    from langchain_spec_thinking.price import Price
    from langchain_spec_thinking.turn import Turn

Script = Callable[["Turn"], str]


def words(text: str) -> list[str]:
    """Split text into the tokens of a scripted model: words with the space before them, and line breaks."""
    return re.findall(r"\n+|[^\S\n]*[^\s<]+|<[^\s>]*>?|[^\S\n]+", text)


@dataclass(repr=False)
class ScriptedBackend(Backend):
    r"""A backend that continues any turn with the text of a function.

    ```python
    small = ScriptedBackend(lambda turn: "One.\n\nWait, two." if not turn.answer else " Done.")
    ```

    Attributes:
        script: The text that the model would write up to the end of the turn, or a function that returns this text for
            a turn. By default a tool call is written as `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`.
        name: The name of the model.
        thinks: Whether the model is a reasoning model. Its script must contain `</think>`.
        tokenize: A function that splits text into pieces of one token each.
        logprobs: A function that returns, for a token, the log-probabilities of the most likely tokens at its position.
            If None, the model returns no log-probabilities.
        call_format: The format in which the script writes tool calls. `CALL_FORMATS` in
            `backends.replies.call_formats` lists the formats.
        price: The price of the model's tokens. None: it is not known.
        requests: All requests that the backend received, each with the text of the turn at that time.
    """

    script: Script | str = ""
    name: str = "scripted"
    thinks: bool = False
    tokenize: Callable[[str], list[str]] = words
    logprobs: Callable[[str], tuple[float, ...]] | None = None
    call_format: CallFormat = HERMES
    price: Price | None = None
    requests: list[tuple[Request, str]] = field(default_factory=list)

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Yield the tokens of the script, at most as many as requested."""
        self.requests.append((request, turn.body()))
        prompt = sum(len(self.tokenize(m.content)) for m in turn.history) + len(self.tokenize(turn.body()))
        yield Usage(prompt_tokens=prompt)
        logprobs_of = self.logprobs if request.top_logprobs else None
        tokens = self.tokenize(self.script if isinstance(self.script, str) else self.script(turn))
        reader = CallReader(plan_reading(turn, self.call_format), answer_thoughts(turn), self.name)
        for token in tokens[: request.max_tokens]:
            yield from reader.read(token, 1, logprobs_of(token)[: request.top_logprobs] if logprobs_of else None)
        yield from reader.rest()
        yield End("stop" if len(tokens) <= request.max_tokens else "length")

    @property
    def capabilities(self) -> Capabilities:
        """A script in this process. It returns 20 log-probabilities as hosted services do, or none."""
        return Capabilities(
            place=IN_THIS_PROCESS,
            engine="a script",
            top_logprobs_max=20 if self.logprobs else 0,
            stops_on_cancel=True,
            tool_calls="text",
            counts_exactly=True,
        )

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self.tokenize(text))

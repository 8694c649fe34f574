"""What a backend can do, as the backend itself describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IN_THIS_PROCESS = "in this process"
"""The `place` of a model that no server runs."""
OWN_TOKENS = "its own tokens"
"""The `continuation` of a model that keeps the tokens of the turn and reads only new text."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do, as far as the backend knows. None means that a fact is not known.

    The defaults describe a backend that implements `continue_turn` and nothing else.

    ```python
    Capabilities(place="http://10.0.0.7/v1", engine="my server", context=32_768, stops_on_cancel=True)
    ```

    Attributes:
        place: Where the model runs: the address of its server without secrets, or `"in this process"`.
        engine: What runs the model: an inference engine, a hosted service, or the class of a chat model.
        device: Device of a model in this process, for example `"cuda:0"`. None also if the model runs elsewhere.
        continuation: How a half-written turn is continued: the name of a strategy such as `"chat_flag"`, or `"its own
            tokens"`.
        limitation: What users should know about how turns are continued. The report of a turn includes it. None if
            there is nothing to report.
        context: Context length of the model (prompt and output), in tokens.
        request_tokens_max: Largest `max_tokens` of one request. Longer texts take several requests. None means no
            limit.
        stopped_tokens_max: Largest `max_tokens` of a request that another model may stop. It limits what unread tokens
            cost if closing the generator does not stop the model. None means no limit.
        top_logprobs_max: Largest number of tokens per position whose log-probabilities can be requested. 0 if the
            backend reports none.
        stops_on_cancel: Whether closing the generator also stops the model, so that nothing more is written and billed.
        tool_calls: `"native"` if requests have the tools in fields of their own. `"text"` if the prompt describes the
            tools, and calls are read from the text.
        counts_exactly: Whether `count_tokens` uses the tokenizer of the model. False means an estimate.
        billed: Whether tokens cost money, because the model runs on a server that is not on your own network. Takeovers
            then end at white space: if half a word were dropped, the next prompt would not match what the server has
            cached.
        prefetches: Whether `prefetch` makes the model read a turn in advance.
    """

    place: str | None = None
    engine: str | None = None
    device: str | None = None
    continuation: str | None = None
    limitation: str | None = None
    context: int | None = None
    request_tokens_max: int | None = None
    stopped_tokens_max: int | None = None
    top_logprobs_max: int = 0
    stops_on_cancel: bool | None = None
    tool_calls: Literal["native", "text"] | None = None
    counts_exactly: bool = False
    billed: bool = False
    prefetches: bool = False

"""The two loops that pass the policy's commands to the backends, and the backends' text to the policy.

`Run` contains everything that the two loops share. The loops differ only in how they wait: `drive` blocks, `adrive`
uses an event loop.
"""

from __future__ import annotations

import logging
import sys
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.backends.base import Call, End, Piece, Request, Usage
from langchain_spec_thinking.errors import BackendError, TurnTimeoutError
from langchain_spec_thinking.policy.budget import Budget
from langchain_spec_thinking.policy.commands import (
    CloseThinking,
    Command,
    Commit,
    Drop,
    EndReason,
    Finish,
    Generate,
    Insert,
    Kind,
    Note,
    OpenThinking,
)
from langchain_spec_thinking.report import Report, Takeover, TakeoverStart

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
    from concurrent.futures import Future

    from langchain_spec_thinking.backends.base import Backend, Event
    from langchain_spec_thinking.policy.delegation import Delegation
    from langchain_spec_thinking.tools import ToolCall
    from langchain_spec_thinking.turn import Author, Channel, Turn


OnTargetFailure = Literal["continue", "raise"]
DraftVerification = Literal["off", "replaced", "ahead"]

_LOGGER = logging.getLogger(__name__)
_REPORTED: set[str] = set()  # names of target models whose failure was logged


@dataclass(frozen=True, slots=True)
class Delta:
    """Committed text. It is final, and deltas arrive in the order in which the text is shown.

    Attributes:
        block: Index of the content block of the text. Each segment of the thought by one author for one reason is a
            block. The whole answer is one block.
        first: Whether this is the first delta of the block.
        call: A tool call. It has its own block and no text.
    """

    author: Author
    channel: Channel
    kind: Kind
    text: str
    block: int
    first: bool
    call: ToolCall | None = None


TurnEvent = Delta | TakeoverStart | Takeover
"""The events of a turn. The deltas of a takeover come between its `TakeoverStart` and its `Takeover`."""


class Run:
    """One turn while it is written: the policy's state machine, the turn and its report.

    Args:
        turn: The turn to write.
        machine: The state machine of the policy. It must not be started yet.
        backends: The backend of each author.
        sampling: Settings of every request. `max_tokens` and `seed` are set for each request.
        on_target_failure: What to do if the target model fails for good: `"continue"` with the speculative model alone,
            or `"raise"` the error.
        budget: Limits of how much of the target model the turn may use.
        timeout: How long the turn may take, in seconds. None: no limit.
        verification: Which drafts of the speculative model the target model may accept, as far as it agrees. `"off"`:
            none. `"replaced"`: the drafts that its takeovers replace. `"ahead"`: also drafts that are written for it
            inside a takeover.
        prefetch: Whether the target model reads the turn at each boundary, while the speculative model writes the
            draft.

    Attributes:
        wanted: The command to carry out next; None if the turn is finished.
        finish_reason: Why the turn ended.
    """

    def __init__(
        self,
        turn: Turn,
        machine: Delegation,
        backends: Mapping[Author, Backend],
        sampling: Request,
        on_target_failure: OnTargetFailure = "continue",
        budget: Budget | None = None,
        timeout: float | None = None,
        verification: DraftVerification = "replaced",
        *,
        prefetch: bool = False,
    ) -> None:
        self.turn = turn
        self.report = Report()
        self.wanted: Generate | None = None
        self.finish_reason: EndReason = "stop"
        self._machine = machine
        self._backends = backends
        self._sampling = sampling
        self._on_target_failure = on_target_failure
        self._budget = budget or Budget()
        self._timeout = timeout
        self._verification = verification
        self._prefetch = prefetch
        self._prefetching: Future[Usage] | None = None
        self._read_at = 0  # number of spans of the turn at the last prefetch
        self._draft = ""  # text of the speculative model that the current takeover replaces
        self._target_lost = False
        self._over_budget = False
        self._requests = 0
        self._received = 0  # number of tokens from the running request
        self._broken_off = 0  # number of tokens from earlier, broken streams of the same command
        self._usage = Usage()
        self._block = -1
        self._answer_block = sys.maxsize

    @property
    def author(self) -> Author:
        """The author of the next request."""
        return "speculative" if self._target_lost or self._over_budget else self._wanted.author

    @property
    def backend(self) -> Backend:
        """The backend of the next request."""
        return self._backends[self.author]

    def request(self) -> Request:
        """Return the next request. Each one has its own seed: reusing a seed would repeat the same samples."""
        seed = self._sampling.seed
        scores = self._wanted.kind == "score"
        stop = self._sampling.stop if self.turn.channel == "answer" and not scores else ()
        self._require_time()
        left = self._budget.tokens_left(self.report) if self.author == "target" else None
        limits = [self._wanted.max_tokens - self._broken_off, left, self.backend.request_tokens_max]
        return replace(
            self._sampling,
            max_tokens=min(limit for limit in limits if limit is not None),
            stop=stop,
            temperature=0.0 if scores else self._sampling.temperature,
            top_logprobs=self._wanted.top_logprobs,
            seed=None if seed is None else seed + self._requests - 1,
            timeout=self._time_left,
            **self._drafts(),
        )

    def _drafts(self) -> dict[str, Any]:
        """Return the drafts that the target model may check instead of writing the text itself."""
        if self._verification == "off" or self.author != "target" or self._wanted.kind == "score":
            return {}
        ahead = self._verification == "ahead"
        return {
            "draft": self._draft,
            "drafter": self._backends["speculative"].drafter(self.turn) if ahead else None,
        }

    def start(self) -> list[TurnEvent]:
        """Begin the turn, and return the first events."""
        return self._apply(self._machine.start())

    def receive(self, event: Event) -> list[TurnEvent]:
        """Receive an event from the backend of the running request, and return the resulting events of the turn."""
        happened = self._receive(event)
        if self._prefetch and isinstance(event, Piece):
            self._read_ahead()
        return happened

    def _read_ahead(self) -> None:
        """Let the target model prefetch the turn once at each boundary, because it may have to continue there."""
        if self._prefetching and self._prefetching.done():
            done, self._prefetching = self._prefetching, None
            if not done.cancelled():  # a takeover cancels the prefetch
                if done.exception():  # the next takeover will report the error of the target model
                    self._prefetch = False
                    return
                self.report.read_ahead(done.result())
        here = len(self.turn.spans)
        if not self._machine.at_boundary or self._read_at == here or self._prefetching:
            return
        if self.author == "target" or self._budget.spent(self.report):
            return
        self._read_at = here
        try:
            self._prefetching = self._backends["target"].prefetch(self.turn)
        except BackendError:  # as above; the running request is not affected
            self._prefetch = False

    def _receive(self, event: Event) -> list[TurnEvent]:
        self._require_time()
        author = self.author
        if not self._received:  # the backend knows its limitation when the first text arrives
            self.report.degraded = self.report.degraded or self.backend.limitation
        if isinstance(event, Piece):
            self._received += event.tokens
            self.report.usage[author].completion_tokens += event.tokens
            return self._apply(self._machine.receive(event.text, event.tokens, event.top_logprobs))
        if isinstance(event, Call):
            return self._take_call(event)
        told = event.usage if isinstance(event, End) else event
        late = 0
        if told:
            usage = told.completed_by(self._usage)
            self.report.used(author, usage, self._usage)
            self._usage = usage
            if isinstance(event, End) and usage.completion_tokens is not None:
                late = usage.completion_tokens - self._received
                self.report.usage[author].completion_tokens += late
        if not isinstance(event, End):
            return []
        if event.reason == "length" and (stand_in := self._stand_in_for_budget(self._received + late)) is not None:
            return stand_in
        if event.reason == "length" and self._received + late == 0:
            self.report.degraded = f"{self.backend.name} has no room left in its context"
        elif event.reason == "length" and self.backend.request_tokens_max is not None:
            return self._ask_for_more(late)
        return self._apply(self._machine.end(event.reason, late))

    def _ask_for_more(self, late: int) -> list[TurnEvent]:
        """Request the next part of the text from a backend that limits the tokens of one request."""
        rest = self._wanted.max_tokens - self._broken_off - self._received - late
        if rest <= 0 or self._wanted.kind == "score":
            return self._apply(self._machine.end("length", late))
        happened = self._apply(self._machine.receive("", late))
        self.turn.pending = self._machine.pending
        self._want_rest(rest)
        self.report.again(self.author)
        return happened

    def _take_call(self, event: Call) -> list[TurnEvent]:
        author, kind = self.author, self._wanted.kind
        self._received += event.tokens
        self.report.usage[author].completion_tokens += event.tokens
        happened = self._apply(self._machine.call(event.tokens))
        self.report.call(author, event.tokens)
        self.turn.calls.append(event.call)
        self._block = len(self.report.segments) - 1
        return [*happened, Delta(author, "answer", kind, "", self._block, first=True, call=event.call)]

    def _stand_in_for_budget(self, received: int) -> list[TurnEvent] | None:
        """Let the speculative model write the rest of a request if the target model has no tokens left in the budget.

        Returns:
            The events; None if the budget does not stop the running request.
        """
        rest = self._wanted.max_tokens - self._broken_off - received
        if self.author != "target" or rest <= 0 or self._budget.tokens_left(self.report) != 0:
            return None
        if self._wanted.kind == "score":  # the speculative model does not score its own steps
            return None
        happened = [*self._apply(self._machine.drop_held_text()), *self.report.hand_back(self.turn)]
        self._want_rest(rest)
        self._keep_to_budget("target")
        self.report.request(self.author, self._wanted.cue)
        return happened

    def _want_rest(self, tokens: int) -> None:
        self.wanted = replace(self._wanted, max_tokens=tokens)  # a new object, so that the driver sends a new request
        self._requests += 1
        self._draft = ""
        self._broken_off, self._received, self._usage = 0, 0, Usage()

    def recover(self, error: BackendError) -> list[TurnEvent]:
        """Continue after the running request failed, or raise the error with the text so far.

        If the stream has produced text and the error is retryable, a new request continues after that text. Otherwise
        the request is given up. (If the stream has produced nothing, its backend has already retried the request.) If
        the request was sent to the target model, the speculative model may continue instead.

        Raises:
            BackendError: The turn cannot continue. The error contains the text so far.
        """
        self._require_time()
        received, self._received, self._usage = self._received, 0, Usage()
        self._broken_off += received
        self._draft = "" if received else self._draft
        happened: list[TurnEvent] = []
        if self.turn.calls:  # these calls are complete; an incomplete one was not shown
            self.report.degraded = f"the answer broke off after {len(self.turn.calls)} tool calls: {error}"
            return self._apply(self._machine.end("stop"))
        if error.is_retryable and received and self._wanted.kind != "score":
            self.turn.pending = self._machine.pending
        elif self.author == "target" and self._on_target_failure == "continue":
            happened = self._lose_target(error)
            if self._wanted.kind == "score":
                return happened + self._apply(self._machine.end("stop"))
        else:
            raise self._with_text(error)
        self._requests += 1
        if (stand_in := self._stand_in_for_budget(0)) is not None:
            return happened + stand_in
        if self._broken_off >= self._wanted.max_tokens:
            return happened + self._apply(self._machine.end("length"))
        self.report.again(self.author)
        return happened

    def _lose_target(self, error: BackendError) -> list[TurnEvent]:
        name = self.backend.name
        happened = [*self._apply(self._machine.drop_held_text()), *self.report.hand_back(self.turn)]
        self._machine.stop_takeovers()
        self._target_lost = True
        self.report.degraded = f"the target failed and the speculative model went on alone: {error}"
        if name not in _REPORTED:
            _REPORTED.add(name)
            _LOGGER.warning("%s Further failures of %s are told in `degraded` only.", self.report.degraded, name)
        return happened

    def _require_time(self) -> None:
        if self._timeout is not None and self.report.seconds >= self._timeout:
            raise self._with_text(TurnTimeoutError(self._timeout))

    def _with_text(self, error: BackendError) -> BackendError:
        error.thinking, error.answer = self.turn.thinking, self.turn.answer
        return error

    @property
    def _time_left(self) -> float | None:
        """The remaining time of the turn, in seconds; None without a timeout."""
        return None if self._timeout is None else self._timeout - self.report.seconds

    @property
    def _wanted(self) -> Generate:
        if self.wanted is None:
            msg = "the turn is finished"
            raise RuntimeError(msg)
        return self.wanted

    def _apply(self, commands: Sequence[Command]) -> list[TurnEvent]:  # noqa: C901 - one case for each command
        happened: list[TurnEvent] = []
        draft = replaced = ""
        if commands:
            self.turn.pending = ""
        for command in commands:
            match command:
                case Commit(text, tokens, kind, asked):
                    happened += self._append(self._writer(asked), kind, text, tokens)
                case Insert(text, kind):
                    happened += self._append("inserted", kind, text, 0)
                    replaced = ""
                case Drop(text, tokens, asked):
                    draft = replaced = self._drop(self._writer(asked), text, tokens)
                case OpenThinking():
                    self.turn.thinks = True
                case CloseThinking(markup):
                    happened += self.report.hand_back(self.turn)
                    self.turn.closing = markup
                    replaced = ""
                case Note(words):
                    self.report.degraded = self.report.degraded or words
                case Generate():
                    happened += self.report.hand_back(self.turn)
                    happened += self._want(command, draft)
                    self._draft = replaced
                case Finish(reason):
                    happened += self.report.hand_back(self.turn)
                    self.wanted = None
                    self.finish_reason = reason
        return happened

    def _drop(self, author: Author, text: str, tokens: int) -> str:
        self.report.drop(author, self.turn.channel, text, tokens)
        return text if author == "speculative" else ""

    def _want(self, command: Generate, draft: str) -> list[TurnEvent]:
        self.wanted = command
        self._requests += 1
        self._received, self._broken_off, self._usage = 0, 0, Usage()
        self._keep_to_budget(command.author)
        if command.kind == "score":
            return self._want_score(command)
        self.report.request(self.author, command.cue)
        if self.author != "target" or command.kind in {"answer", "lead"}:
            return []
        return [self.report.take_over(self.turn.channel, command.kind, command.cue, draft)]

    def _want_score(self, command: Generate) -> list[TurnEvent]:
        """Request a score from the target model for a held step. If the budget is spent, keep the step."""
        if self._over_budget:
            return self._apply(self._machine.end("stop"))
        self.turn.pending = command.prompt_suffix
        self.report.usage["target"].requests += 1  # only this number: the segment of the step is not complete yet
        return []

    def _writer(self, asked: Author) -> Author:
        """Return the author of text that was requested from `asked`.

        The speculative model may have written it instead of the target model. Text that was held while the target
        model scored it keeps its author.
        """
        return self.author if asked == self._wanted.author else asked

    def _keep_to_budget(self, author: Author) -> None:
        spent = self._budget.spent(self.report) if author == "target" else None
        self._over_budget = spent is not None
        if spent:
            self.report.degraded = f"the budget is spent: {spent}"

    def _append(self, author: Author, kind: Kind, text: str, tokens: int) -> list[TurnEvent]:
        channel = self.turn.channel
        self.report.commit(author, channel, kind, text, tokens)
        if not text:
            return []
        self.turn.append(author, text)
        block = len(self.report.segments) - 1
        if channel == "answer":
            block = self._answer_block = min(block, self._answer_block)
        first, self._block = block != self._block, block
        return [Delta(author, channel, kind, text, block, first=first)]


def drive(run: Run) -> Generator[TurnEvent, None, None]:
    """Write the turn. Yield text when it becomes final, and an event at the start and the end of each takeover.

    To cancel the running request, close the generator.
    """
    yield from run.start()
    while (wanted := run.wanted) is not None:
        try:
            with closing(run.backend.continue_turn(run.turn, run.request())) as events:
                for event in events:
                    yield from run.receive(event)
                    if run.wanted is not wanted:
                        break
                else:  # a stream without an `End` counts as the end of the turn
                    yield from run.receive(End("stop"))
        except BackendError as error:
            yield from run.recover(error)


async def adrive(run: Run) -> AsyncGenerator[TurnEvent, None]:
    """Write the turn like `drive`, on an event loop."""
    for happening in run.start():
        yield happening
    while (wanted := run.wanted) is not None:
        try:
            async with aclosing(run.backend.acontinue_turn(run.turn, run.request())) as events:
                async for event in events:
                    for happening in run.receive(event):
                        yield happening
                    if run.wanted is not wanted:
                        break
                else:
                    for happening in run.receive(End("stop")):
                        yield happening
        except BackendError as error:
            for happening in run.recover(error):
                yield happening

"""One turn while it is written: the policy's commands become requests and text, and the backends' events its inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.backends.base import Call, End, Limitation, Piece, Request
from langchain_spec_thinking.deadline import Deadline
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
from langchain_spec_thinking.report import Report
from langchain_spec_thinking.resumes import Resumes
from langchain_spec_thinking.running_request import RunningRequest
from langchain_spec_thinking.turn_events import ContentBlocks
from langchain_spec_thinking.writers import OnTargetFailure, Prefetcher, Writers, require_time, with_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_spec_thinking.backends.base import Backend, Event, Usage
    from langchain_spec_thinking.errors import BackendError
    from langchain_spec_thinking.policy.budget import Budget
    from langchain_spec_thinking.policy.delegation import Delegation
    from langchain_spec_thinking.turn import Author, Turn
    from langchain_spec_thinking.turn_events import TurnEvent

DraftVerification = Literal["off", "replaced", "ahead"]


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
        deadline: The moment by which the turn must be finished. None: there is none.
        draft_verification: Which drafts of the speculative model the target model may accept, as far as it agrees.
            `"off"`: none. `"replaced"`: the drafts that its takeovers replace. `"ahead"`: also drafts that are written
            for it while it writes.
        prefetch: Whether the target model reads the turn at each boundary, while the speculative model writes the
            draft.

    Attributes:
        pending_request: The command to carry out next; None if the turn is finished.
        finish_reason: Why the turn ended.
        resumes: How often requests ended early, and the wait before the next one.
    """

    def __init__(
        self,
        turn: Turn,
        machine: Delegation,
        *,
        backends: Mapping[Author, Backend],
        sampling: Request,
        on_target_failure: OnTargetFailure = "continue",
        budget: Budget | None = None,
        deadline: Deadline | None = None,
        draft_verification: DraftVerification = "replaced",
        prefetch: bool = False,
    ) -> None:
        self.turn = turn
        self.deadline = deadline or Deadline()
        self.report = Report(clock=self.deadline.clock.now)
        self.pending_request: Generate | None = None
        self.finish_reason: EndReason = "stop"
        self._machine = machine
        self._sampling = sampling
        self._draft_verification = draft_verification
        self._writers = Writers(backends=backends, on_target_failure=on_target_failure, budget=budget)
        self._prefetcher = Prefetcher(turn=turn, backend=backends["target"]) if prefetch else None
        self.resumes = Resumes(self.deadline)
        self._running = RunningRequest()
        self._draft = ""  # text of the speculative model that the current takeover replaces
        self._requests = 0
        self._blocks = ContentBlocks()

    # -- what the drivers use

    @property
    def author(self) -> Author:
        """The author of the next request."""
        return self._writers.author(self._command.author)

    @property
    def backend(self) -> Backend:
        """The backend of the next request."""
        return self._writers.backend(self.author)

    def request(self) -> Request:
        """Return the next request. Each one has its own seed: reusing a seed would repeat the same samples."""
        seed = self._sampling.seed
        scores = self._command.kind == "score"
        stop = self._sampling.stop if self.turn.channel == "answer" and not scores else ()
        self.deadline.require()
        left = self._writers.tokens_left(self.author, self.report)
        rest = self._command.max_tokens - self._running.broken_off
        limits = [rest, left, self.backend.capabilities.request_tokens_max]
        self._running.max_tokens = min(limit for limit in limits if limit is not None)
        return replace(
            self._sampling,
            max_tokens=self._running.max_tokens,
            stop=stop,
            temperature=0.0 if scores else self._sampling.temperature,
            top_logprobs=self._command.top_logprobs,
            seed=None if seed is None else seed + self._requests - 1,
            deadline=self.deadline,
            **self._drafts(),
        )

    def start(self) -> list[TurnEvent]:
        """Begin the turn, and return the first events."""
        return self._apply(self._machine.start())

    def receive(self, event: Event) -> list[TurnEvent]:
        """Receive an event from the backend of the running request, and return the resulting events of the turn."""
        events = self._receive(event)
        if self._prefetcher and isinstance(event, Piece):
            self._prefetcher.collect(self.report)
            if self._machine.at_boundary and self.author != "target" and not self._writers.budget_spent(self.report):
                self._prefetcher.start()
        return events

    def recover(self, error: BackendError) -> list[TurnEvent]:
        """Continue after the running request failed, or raise the error with the text so far.

        If the stream has produced text and the error is retryable, a new request continues after that text. Otherwise
        the request is given up. (If the stream has produced nothing, its backend has already retried the request.) It
        is also given up if too many requests have ended early with little text. If the request was sent to the target
        model, the speculative model may continue instead.

        Raises:
            BackendError: The turn cannot continue. The error contains the text so far.
        """
        require_time(self.deadline, self.turn)
        requested, empty = self._running.max_tokens, self._running.empty
        kept = 0 if self._machine.at_start else self._running.received
        self._running.resume()
        self._draft = self._draft if empty else ""
        events: list[TurnEvent] = []
        if calls := len(self.turn.calls):  # these calls are complete; an incomplete one was not shown
            self.report.add_degraded(f"the answer ended early, after {calls} complete tool calls: {error}")
            return self._apply(self._machine.end("stop"))
        resumable = error.is_retryable and not empty and self._command.kind != "score"
        if resumable and self.resumes.allow_resume(self.author, kept, requested):
            events = self._continue_held_text()
        elif self.author == "target" and self._writers.may_lose_target:
            events = self._lose_target(error)
            if self._command.kind == "score":
                return events + self._apply(self._machine.end("stop"))
        else:
            raise with_text(error, self.turn)
        return events + self._repeat_request()

    def close(self) -> None:
        """Cancel what still runs for the turn. The drivers call this when the turn ends or is cancelled."""
        if self._prefetcher:
            self._prefetcher.cancel()

    # -- requests

    @property
    def _command(self) -> Generate:
        """The command of the running request."""
        if self.pending_request is None:
            msg = "the turn is finished"
            raise RuntimeError(msg)
        return self.pending_request

    def _start_request(self, command: Generate, draft: str) -> list[TurnEvent]:
        self.pending_request = command
        self._requests += 1
        self._running.begin()
        self._writers.apply_budget(command.author, self.report)
        if command.kind == "score":
            return self._start_score_request(command)
        self.report.request(self.author, command.cue)
        if self.author != "target" or command.kind in {"answer", "lead"}:
            return []
        return [self.report.take_over(self.turn.channel, command.kind, command.cue, draft)]

    def _start_score_request(self, command: Generate) -> list[TurnEvent]:
        """Request a score from the target model for a held step. If the budget is spent, keep the step."""
        if self._writers.over_budget:
            return self._apply(self._machine.end("stop"))
        self.turn.pending = command.prompt_suffix
        self.report.usage["target"].requests += 1  # only this number: the segment of the step is not complete yet
        return []

    def _start_rest_request(self, tokens: int) -> None:
        """Request the rest of the text of the current command, at most `tokens` tokens."""
        self.pending_request = replace(self._command, max_tokens=tokens)  # a new object makes the driver send a request
        self._requests += 1
        self._draft = ""
        self._running.begin()

    def _continue_held_text(self) -> list[TurnEvent]:
        """Let the next request continue after the held text, or begin the turn anew if it holds only a think tag.

        The turn has an open tag already, so the request would contain two.
        """
        if not self._machine.at_start:
            self.turn.pending = self._machine.pending
            return []
        self._running.begin()
        return self._apply(self._machine.drop_held_text())

    def _repeat_request(self) -> list[TurnEvent]:
        """Request what is missing after a stream broke."""
        self._requests += 1
        if (events := self._replace_target_over_budget(0)) is not None:
            return events
        if self._running.broken_off >= self._command.max_tokens:
            return self._apply(self._machine.end("length"))
        self.report.repeat_request(self.author)
        return []

    def _drafts(self) -> dict[str, Any]:
        """Return the drafts that the target model may check instead of writing the text itself."""
        if self._draft_verification == "off" or self.author != "target" or self._command.kind == "score":
            return {}
        ahead = self._draft_verification == "ahead"
        return {
            "draft": self._draft,
            "drafter": self._writers.backend("speculative").drafter(self.turn) if ahead else None,
        }

    # -- events of the backend

    def _receive(self, event: Event) -> list[TurnEvent]:
        if not self._running.received:  # the limitation is known when the first text arrives
            self._report_limitation()
        if isinstance(event, Piece):
            return self._take_piece(event)
        if isinstance(event, Call):
            return self._take_call(event)
        if isinstance(event, End):
            return self._end(event)
        if isinstance(event, Limitation):
            self.report.add_degraded(event.words)
        else:
            self._record_usage(event)
        return []

    def _report_limitation(self) -> None:
        if limitation := self.backend.capabilities.limitation:
            self.report.add_degraded(limitation)

    def _take_piece(self, piece: Piece) -> list[TurnEvent]:
        """Receive a piece of text. If it exceeds the limit of the request, cut it there and end the request."""
        pending, tokens = self.pending_request, self._count_tokens(piece.tokens, piece.text)
        written = self._running.received + tokens
        text, tokens = self._running.take(piece.text, tokens, self.backend.count_tokens)
        self.report.usage[self.author].completion_tokens += tokens
        events = self._apply(self._machine.receive(text, tokens, piece.top_logprobs))
        if not self._running.cut or self.pending_request is not pending:
            return events
        self._report_excess(written, cut=True)
        return events + self._end_by_length(0)

    def _count_tokens(self, counted: int | None, text: str) -> int:
        """Return the number of tokens of a text. None: the backend did not count them."""
        return self.backend.count_tokens(text) if counted is None else counted

    def _report_excess(self, tokens: int, *, cut: bool) -> None:
        """Report a model that wrote more than requested: `tokens` in all. `cut`: some of it was not used."""
        if self._running.exceeded(tokens):
            name = self.backend.name
            ended = f"{name} ignored the token limit of a request, so its text was cut"
            whole = f"{name} ignored the token limit of a request"
            self.report.add_degraded(ended if cut else whole)

    def _record_usage(self, reported: Usage) -> None:
        usage = reported.with_defaults_from(self._running.usage)
        self.report.record_usage(self.author, usage, self._running.usage)
        self._running.usage = usage

    def _take_call(self, event: Call) -> list[TurnEvent]:
        author, kind = self.author, self._command.kind
        written = self._count_tokens(event.tokens, f"{event.call.name}{event.call.arguments}")
        self._report_excess(self._running.received + written, cut=not self._running.left)
        tokens = self._running.take_call(written)
        if tokens is None:
            return self._end_by_length(0)
        self.report.usage[author].completion_tokens += tokens
        events = self._apply(self._machine.call(tokens))
        self.report.call(author, tokens)
        self.turn.calls.append(event.call)
        return [*events, self._blocks.call(author, kind, event.call, len(self.report.segments) - 1)]

    def _end(self, end: End) -> list[TurnEvent]:
        late = 0  # number of tokens that the backend counts only now
        if end.usage:
            self._record_usage(end.usage)
            late = self._running.late_tokens()
            self._report_excess(self._running.received + late, cut=end.reason == "length")
            self.report.usage[self.author].completion_tokens += late
            late = min(late, self._running.left)
        if end.reason == "length":
            return self._end_by_length(late)
        return self._apply(self._machine.end(end.reason, late))

    def _end_by_length(self, late: int) -> list[TurnEvent]:
        """Continue after the running request reached its token limit or the end of the model's context."""
        received = self._running.received + late
        if (events := self._replace_target_over_budget(received)) is not None:
            return events
        if received == 0 and self._running.empty:
            self.report.add_degraded(f"the context of {self.backend.name} is full")
        elif self.backend.capabilities.request_tokens_max is not None and self._command.kind != "score":
            return self._request_more(late)
        return self._apply(self._machine.end("length", late))

    def _request_more(self, late: int) -> list[TurnEvent]:
        """Request the next part of the text from a backend that limits the tokens of one request."""
        rest = self._command.max_tokens - self._running.written - late
        written, requested = self._running.received + late, self._running.max_tokens
        if rest <= 0 or not self.resumes.allow_resume(self.author, written, requested):
            return self._apply(self._machine.end("length", late))
        events = self._apply(self._machine.receive("", late)) + self._continue_held_text()
        self._start_rest_request(rest)
        self.report.repeat_request(self.author)
        return events

    # -- the speculative model in place of the target model

    def _replace_target_over_budget(self, received: int) -> list[TurnEvent] | None:
        """Let the speculative model write the rest of a request if the target model has no tokens left in the budget.

        Returns:
            The events; None if the budget does not stop the running request.
        """
        rest = self._command.max_tokens - self._running.broken_off - received
        if self.author != "target" or rest <= 0 or self._writers.tokens_left("target", self.report) != 0:
            return None
        if self._command.kind == "score":  # the speculative model does not score its own steps
            return None
        events = self._give_up_takeover()
        self._start_rest_request(rest)
        self._writers.apply_budget("target", self.report)
        self.report.request(self.author, self._command.cue)
        return events

    def _lose_target(self, error: BackendError) -> list[TurnEvent]:
        events = self._give_up_takeover()
        self._machine.stop_takeovers()
        self._writers.lose_target(error, self.report)
        return events

    def _give_up_takeover(self) -> list[TurnEvent]:
        return [*self._apply(self._machine.drop_held_text()), *self.report.hand_back(self.turn)]

    def _writer(self, requested: Author) -> Author:
        """Return the author of text that was requested from `requested`.

        The speculative model may have written it instead of the target model. Text that was held while the target
        model scored it keeps its author.
        """
        return self.author if requested == self._command.author else requested

    # -- commands of the policy

    def _apply(self, commands: Sequence[Command]) -> list[TurnEvent]:  # noqa: C901 - one case for each command
        events: list[TurnEvent] = []
        draft = replaced = ""
        if commands:
            self.turn.pending = ""
        for command in commands:
            match command:
                case Commit(text, tokens, kind, requested):
                    events += self._append(self._writer(requested), kind, text, tokens)
                case Insert(text, kind):
                    events += self._append("inserted", kind, text, 0)
                    replaced = ""
                case Drop(text, tokens, requested):
                    draft = replaced = self._drop(self._writer(requested), text, tokens)
                case OpenThinking():
                    self.turn.thinks = True
                case CloseThinking(markup):
                    events += self.report.hand_back(self.turn)
                    self.turn.closing = markup
                    replaced = ""
                case Note(words):
                    self.report.add_degraded(words)
                case Generate():
                    events += self.report.hand_back(self.turn)
                    events += self._start_request(command, draft)
                    self._draft = replaced
                case Finish(reason):
                    events += self.report.hand_back(self.turn)
                    self.pending_request = None
                    self.finish_reason = reason
        return events

    def _drop(self, author: Author, text: str, tokens: int) -> str:
        self.report.drop(author, self.turn.channel, text, tokens)
        return text if author == "speculative" else ""

    def _append(self, author: Author, kind: Kind, text: str, tokens: int) -> list[TurnEvent]:
        channel = self.turn.channel
        self.report.commit(author, channel, kind, text, tokens)
        if not text:
            return []
        self.turn.append(author, text)
        return [self._blocks.text(author, channel, kind, text, len(self.report.segments) - 1)]

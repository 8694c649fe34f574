"""One turn while it is written: the policy's commands become requests and text, and the backends' events its inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from langchain_spec_thinking.backends.base import Call, End, Limitation, Piece, ReplyFields, Request
from langchain_spec_thinking.backends.replies.finish_reasons import note_on
from langchain_spec_thinking.backends.replies.refusals import refusal_note
from langchain_spec_thinking.deadline import Deadline
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.hidden_reasoning import (
    HIDDEN_TOKENS,
    ended_without_text,
    hides_reasoning,
    no_short_requests,
    no_short_takeovers,
    no_text,
    note_hidden_reasoning,
    note_shown_text,
)
from langchain_spec_thinking.policy.commands import (
    CloseThinking,
    Command,
    Commit,
    Drop,
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
    from langchain_spec_thinking.policy.budget import Budget
    from langchain_spec_thinking.policy.delegation import Delegation
    from langchain_spec_thinking.turn import Author, Turn
    from langchain_spec_thinking.turn_events import TurnEvent

DraftVerification = Literal["off", "replaced", "ahead"]
"""Which drafts of the small model a local large model checks in one forward pass."""


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
        answer_logprobs: Whether to request log-probabilities of the answer's tokens, for `answer_logprobs`.
        has_fallback: Whether the caller holds another answer. If the target model then fails for good before its answer
            begins, the run raises the error, whatever `on_target_failure` says.

    Attributes:
        pending_request: The command to carry out next; None if the turn is finished.
        finish_reason: Why the turn ended: `"stop"`, `"length"`, or the own word of the server that ended the reply for
            another reason.
        refusal: The words with which the model refused to answer. Empty if it did not.
        reply_fields: What a server sent along with the tool calls of the answer, to get it back with them.
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
        answer_logprobs: bool = False,
        has_fallback: bool = False,
    ) -> None:
        self.turn = turn
        self.deadline = deadline or Deadline()
        prices = {author: backend.price for author, backend in backends.items()}
        self.report = Report(prices=prices, clock=self.deadline.clock.now)
        self.pending_request: Generate | None = None
        self.finish_reason: str = "stop"
        self.refusal = ""
        self._machine = machine
        self._sampling = sampling
        self._draft_verification = draft_verification
        self._writers = Writers(backends=backends, on_target_failure=on_target_failure, budget=budget)
        self._prefetcher = Prefetcher(turn=turn, backend=backends["target"]) if prefetch else None
        self.resumes = Resumes(self.deadline)
        self.reply_fields: dict[str, Any] = {}
        self._running = RunningRequest()
        self._draft = ""  # text of the speculative model that the current takeover replaces
        self._requests = 0
        self._connected_during: Generate | None = None  # the command whose stream has begun
        self._answer_logprobs: list[float] | None = [] if answer_logprobs else None  # one for each piece
        self._has_fallback = has_fallback
        self._asked_with_room = False  # the current command was repeated with room for hidden reasoning
        self._blocks = ContentBlocks()
        self._thinking_unknown = False  # a model whose replies may show that it reasons begins with a structured answer

    @property
    def answer_logprobs(self) -> Sequence[float]:
        """Log-probabilities of the most likely token at each place of the answer, in nats. Empty: not known."""
        return self._answer_logprobs or ()

    @property
    def target_lost(self) -> bool:
        """Whether the target model failed for good, and the speculative model continued alone."""
        return self._writers.target_lost

    @property
    def billed_after_cancel(self) -> bool:
        """Whether the running request has no short limit, and is billed to its end although nobody reads on."""
        if not self._sampling.whole or self.pending_request is None or not self.report.usage[self.author].requests:
            return False
        return self.backend.capabilities.stops_on_cancel is False

    def add_degraded(self, words: str) -> None:
        """Report that something is not as configured."""
        self.report.add_degraded(words)

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
        self._running.max_tokens = min([rest, *self._request_limits(), *([] if left is None else [left])])
        self._running.hidden_max = self._hidden_room(left)
        return replace(
            self._sampling,
            max_tokens=self._running.max_tokens,
            hidden_tokens=self._running.hidden_max,
            stop=stop,
            temperature=0.0 if scores else self._sampling.temperature,
            top_logprobs=max(self._command.top_logprobs, int(self._answer_logprobs is not None)),
            seed=None if seed is None else seed + self._requests - 1,
            deadline=self.deadline,
            **self._drafts(),
        )

    def _request_limits(self) -> list[int]:
        """Return the limits of a single request to the backend, in tokens."""
        can = self.backend.capabilities
        limits = [can.request_tokens_max, None if self._sampling.whole else can.stopped_tokens_max]
        return [limit for limit in limits if limit is not None]

    def _hidden_room(self, left: int | None) -> int:
        """Return how many tokens the request may spend on hidden reasoning: none if the wanted text is short.

        Args:
            left: How many tokens the budget leaves to the author. None: no limit.
        """
        if self._is_short or not hides_reasoning(self.backend):
            return 0
        return HIDDEN_TOKENS if left is None else max(0, min(HIDDEN_TOKENS, left - self._running.max_tokens))

    @property
    def _is_short(self) -> bool:
        """Whether only a few tokens are requested, so that a model with hidden reasoning brings no text."""
        return self._command.kind not in {"answer", "draft", "lead"} and not self._machine.gave_rest

    def start(self) -> list[TurnEvent]:
        """Begin the turn, and return the first events."""
        self._thinking_unknown = self.turn.structured_answer and not (self.turn.thinks or self._small_thinks)
        for author in self._machine.short_takeovers_by:
            if self._writers.hides_reasoning(author):
                self._stop_short_takeovers(author)
        return self._apply(self._machine.start())

    def receive(self, event: Event) -> list[TurnEvent]:
        """Receive an event from the backend of the running request, and return the resulting events of the turn."""
        command, at_boundary_before = self.pending_request, self._machine.at_boundary
        events = self._receive(event)
        if isinstance(event, Piece):
            at_boundary = self._machine.at_boundary and self.author != "target"
            if command is not self._connected_during or (at_boundary and not at_boundary_before):
                self._connected_during = command
                self._writers.connect_ahead()
            if self._prefetcher:
                self._prefetcher.collect(self.report)
                if at_boundary and not self._writers.budget_spent(self.report):
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
        elif self.author == "target" and self._may_lose_target:
            events = self._lose_target(error)
            if self._command.kind == "score":
                return events + self._apply(self._machine.end("stop"))
        else:
            raise with_text(error, self.turn)
        return events + self._repeat_request()

    @property
    def _may_lose_target(self) -> bool:
        """Whether the speculative model continues if the target model fails for good."""
        falls_back = self._has_fallback and not (self.turn.answer.strip() or self.turn.calls)
        return self._writers.may_lose_target and not falls_back

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
        self._asked_with_room = False
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
        if self._writers.over_budget or self._writers.hides_reasoning("target"):
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
        if (events := self._replace_target_over_budget(0, again=True)) is not None:
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
        elif isinstance(event, ReplyFields):
            self.reply_fields = event.fields
        else:
            self._record_usage(event)
        return []

    def _report_limitation(self) -> None:
        begins = not (self.turn.spans or self.turn.pending)  # such a request continues nothing
        if (limitation := self.backend.capabilities.limitation) and not begins:
            self.report.add_degraded(limitation)

    def _take_piece(self, piece: Piece) -> list[TurnEvent]:
        """Receive a piece of text. If it exceeds the limit of the request, cut it there and end the request."""
        pending, tokens = self.pending_request, self._count_tokens(piece.tokens, piece.text)
        written = self._running.received + tokens
        text, tokens = self._running.take(piece.text, tokens, self.backend.count_tokens)
        self.report.usage[self.author].completion_tokens += tokens
        events = self._apply(self._machine.receive(text, tokens, piece.top_logprobs))
        if self._answer_logprobs is not None and piece.top_logprobs and self.turn.channel == "answer":
            self._answer_logprobs.append(piece.top_logprobs[0])
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
        self._note_end(end)
        late = 0  # number of tokens that the backend counts only now
        if end.usage:
            self._record_usage(end.usage)
            late = self._running.late_tokens()
            self.report.usage[self.author].completion_tokens += late
            if ended_without_text(end.reason, self._running.usage, has_text=not self._running.empty):
                return self._end_without_text(late)
            if not self._running.empty:
                note_shown_text(self.backend, self._running.usage, self._running.received)
            late -= self._running.hidden_tokens(late)
            self._report_excess(self._running.received + late, cut=end.reason == "length")
            late = min(late, self._running.left)
        if end.reason == "length":
            return self._end_by_length(late)
        return self._apply(self._machine.end(end.reason, late))

    def _note_end(self, end: End) -> None:
        """Keep why the request ended, and report it if it was no ordinary end."""
        self._running.finish_reason, self._running.refusal = end.finish_reason, end.refusal
        if end.finish_reason:
            self.report.add_degraded(note_on(end.finish_reason, self.backend.name))
        if end.refusal:
            self.report.add_degraded(refusal_note(self.backend.name))

    def _end_by_length(self, late: int) -> list[TurnEvent]:
        """Continue after the running request reached its token limit or the end of the model's context."""
        received = self._running.received + late
        full = received == 0 and self._running.empty
        again = not full and bool(self._request_limits()) and self._command.kind != "score"
        if (events := self._replace_target_over_budget(received, again=again)) is not None:
            return events
        if full:
            self.report.add_degraded(f"the context of {self.backend.name} is full")
        elif again:
            return self._request_more(late)
        return self._apply(self._machine.end("length", late))

    def _end_without_text(self, tokens: int) -> list[TurnEvent]:
        """Continue after a request that spent all its tokens on reasoning that is not shown.

        Raises:
            BackendError: The large model has no room for its answer, and the caller holds another answer.
        """
        had_room = self._asked_with_room or self._running.hidden_max > 0
        note_hidden_reasoning(self.backend)
        if self._is_short:
            self._stop_short_takeovers(self.author)
            return self._apply(self._machine.end("length"))
        if not had_room and (self.author != "target" or self._writers.may_write_rest(self.report, again=True)):
            self._asked_with_room = True
            self._start_rest_request(self._command.max_tokens - self._running.written)
            self.report.repeat_request(self.author)
            return []
        words = no_text(self.backend.name, tokens)
        if self._has_fallback and self.author == "target":
            raise BackendError(words)
        self.report.add_degraded(words)
        return self._apply(self._machine.end("length"))

    def _stop_short_takeovers(self, author: Author) -> None:
        """Stop requests of a few tokens to a model that hides its reasoning, and report it."""
        name, follows = self._writers.backend(author).name, self._machine.leading_author != author
        takes_over = author == "target" and follows
        self.report.add_degraded(no_short_takeovers(name) if takes_over else no_short_requests(name, author))
        self._machine.stop_takeovers(only_short=author == "target")

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

    def _replace_target_over_budget(self, received: int, *, again: bool) -> list[TurnEvent] | None:
        """Let the speculative model write the rest of a request if the budget does not allow it to the target model.

        Args:
            received: How many tokens the request has brought.
            again: Whether the rest takes a further request.

        Returns:
            The events; None if the budget does not stop the running request.
        """
        rest = self._command.max_tokens - self._running.broken_off - received
        if self.author != "target" or rest <= 0 or self._writers.may_write_rest(self.report, again=again):
            return None
        if self._command.kind == "score":  # the speculative model does not score its own steps
            return None
        events = self._give_up_takeover()
        self._asked_with_room = False  # of the target model
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
                    self._report_thinking()
                    events += self.report.hand_back(self.turn)
                    self.pending_request = None
                    self.finish_reason = self._running.finish_reason or reason
                    self.refusal = self._running.refusal
        return events

    @property
    def _small_thinks(self) -> bool:
        return self._writers.backend("speculative").thinks

    def _report_thinking(self) -> None:
        """Report if the turn began with its answer, because nobody knew that the small model reasons."""
        if self._thinking_unknown and self._small_thinks:
            name = self._writers.backend("speculative").name
            self.report.add_degraded(
                f"{name} reasons, but this was not known, so the turn began with the answer and had no takeovers. From "
                "now on it is known. To set it from the start, pass thinking=True to its backend."
            )

    def _drop(self, author: Author, text: str, tokens: int) -> str:
        self.report.drop(author, self.turn.channel, text, tokens)
        return text if author == "speculative" else ""

    def _append(self, author: Author, kind: Kind, text: str, tokens: int) -> list[TurnEvent]:
        channel = self.turn.channel
        self.report.commit(author, channel, kind, text, tokens)
        if author == "target" and kind not in {"answer", "lead"} and self._machine.gave_rest:
            self.report.escalated = _reason_of_rest(self._command.cue)
        if not text:
            return []
        self.turn.append(author, text)
        return [self._blocks.text(author, channel, kind, text, len(self.report.segments) - 1)]


def _reason_of_rest(cue: str | None) -> str:
    """Return why the target model writes the rest of the turn.

    Args:
        cue: The word that led to the takeover. None if there is none.
    """
    found = "" if cue is None else f" at {cue!r}"
    return f"the policy decided for a takeover{found}, and a takeover is the rest of the thought"

"""Makes the runs of a turn from the settings of a pair: one run, or the runs of a turn with a rule of escalation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.base import Request
from langchain_spec_thinking.escalated_run import EscalatedRun, Runs
from langchain_spec_thinking.hidden_reasoning import hides_reasoning
from langchain_spec_thinking.policy import Delegation, DelegationPolicy, NoTakeovers
from langchain_spec_thinking.policy.escalation import Gate
from langchain_spec_thinking.run import Run
from langchain_spec_thinking.turn import CLOSING, Message, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from langchain_spec_thinking.backends.base import Backend
    from langchain_spec_thinking.escalated_run import Thought
    from langchain_spec_thinking.policy.escalation import AskIfSame, Escalation
    from langchain_spec_thinking.room import TokenLimits
    from langchain_spec_thinking.turn import Author

AnyRun = Run | EscalatedRun
"""The run of a turn, with or without a rule of escalation."""
_SEEDS = 1_000_003
"""How far apart the seeds of two samples are. Each request of a turn adds 1 to its seed."""
_REPLY_TOKENS = 4
"""Room for "yes" or "no", in tokens."""
_QUESTION = (
    "Do these two answers to the same question say the same? Reply with one word, yes or no.\n\n"
    "The question:\n{question}\n\nThe first answer:\n{first}\n\nThe second answer:\n{second}"
)


@dataclass(frozen=True)
class TurnRuns:
    """The settings of a turn, and the runs that they make.

    Attributes:
        turn: The turn, without text.
        policy: When the large model takes over.
        machine: Settings of the state machine, without the policy and the limits.
        limits: The limits that the user has set. Each run has them for itself.
        backends: The backend of each author.
        sampling: Settings of every request, without a token limit.
        settings: Further arguments of `Run`.
        may_think: Whether models may think in this turn.
        make_run: Makes a run from a policy, the settings of a machine, and the arguments of `Run`. A recorder passes
            its own function.
    """

    turn: Turn
    policy: DelegationPolicy
    machine: dict[str, Any]
    limits: TokenLimits
    backends: Mapping[Author, Backend]
    sampling: dict[str, Any]
    settings: dict[str, Any]
    may_think: bool = True
    make_run: Callable[..., Run] | None = None

    def run(self) -> Run:
        """Make the run of a turn without a rule of escalation."""
        # If the user sets `max_tokens`, the turn may outgrow the context of the target: then the other model continues.
        outgrows = self.limits.max_tokens is not None and self.machine["answer_by"] == "speculative"
        readers: tuple[Author, ...] = ("speculative",) if outgrows else ("speculative", "target")
        machine = {**self.machine, **self._limits(*readers)}
        return self._run(self.turn, self.policy, machine, self.sampling, make=self.make_run, **self.settings)

    def escalated_run(
        self, rule: Escalation, on_end: Callable[[EscalatedRun, str | None], None] | None = None
    ) -> EscalatedRun:
        """Make the runs of a turn with a rule of escalation.

        Args:
            rule: The rule.
            on_end: Called at the end of the turn, with the error that ended it, if any.
        """
        return EscalatedRun(
            self._empty_turn(thinks=self.turn.thinks),
            self.policy,
            Gate(rule, self.policy.boundary),
            Runs(lambda: self._attempt(rule), lambda number: self._sample(rule, number), self._question, self._target),
            on_target_failure=self.settings["on_target_failure"],
            on_end=on_end,
        )

    def _attempt(self, rule: Escalation) -> Run:
        settings = {**self.settings, "answer_logprobs": rule.needs_logprobs}
        turn = self._empty_turn(thinks=self.turn.thinks)
        machine = {**self.machine, **self._limits(*self._readers)}
        whole = not self.policy.has_takeovers and not self._uses_short_requests(rule)
        return self._run(turn, self.policy, machine, self.sampling, make=self.make_run, whole=whole, **settings)

    def _uses_short_requests(self, rule: Escalation) -> bool:
        """Return whether the attempt takes several short requests, because the rest of a stopped one would be billed.

        A stopped attempt may have no end. Samples, and attempts that no rule stops, end by themselves: there, reading
        the text again for each request costs more than what is written after they were cancelled. A model that hides
        its reasoning would reason anew for each request.
        """
        small = self.backends["speculative"]
        can = small.capabilities
        may_stop = rule.stops_attempts and can.stopped_tokens_max is not None
        return may_stop and can.limitation is None and not hides_reasoning(small)

    @property
    def _readers(self) -> tuple[Author, ...]:
        """The models that read the attempt of the small model, or its thought."""
        alone = not self.policy.has_takeovers and self.machine["answer_by"] == "speculative"
        return ("speculative",) if alone and self.policy.escalate_to == "restart" else ("speculative", "target")

    def _sample(self, rule: Escalation, number: int) -> Run:
        """Make a turn of the small model alone. Its seeds differ from those of the attempt and of other samples."""
        thinks = self.may_think and self.backends["speculative"].thinks
        seed = self.sampling["seed"]
        own = {
            "seed": None if seed is None else seed + (number + 1) * _SEEDS,
            "temperature": self.sampling["temperature"] if rule.temperature is None else rule.temperature,
        }
        return self._run(
            self._empty_turn(thinks=thinks),
            self._alone("speculative"),
            {**self.machine, **self._limits("speculative"), "thinks": thinks, "answer_by": "speculative"},
            {**self.sampling, **own},
            deadline=self.settings["deadline"],
        )

    def _question(self, question: AskIfSame) -> Run:
        """Make a turn in which the small model says whether two texts say the same, without a thought if possible."""
        asked = next((message.content for message in reversed(self.turn.history) if message.role == "user"), "")
        text = _QUESTION.format(question=asked, first=question.first, second=question.second)
        turn = Turn((Message("user", text),))
        small = self.backends["speculative"]
        if small.thinks and small.capabilities.limitation is None:  # otherwise it cannot continue an empty thought
            turn.thinks, turn.closing = True, CLOSING
        return self._run(
            turn,
            self._alone("speculative"),
            {"thinks": False, "answer_by": "speculative", "max_tokens": _REPLY_TOKENS},
            {**self.sampling, "stop": (), "temperature": 0.0},
            deadline=self.settings["deadline"],
        )

    def _target(self, continued: Thought | None, has_answer: bool) -> Run:  # noqa: FBT001 - see `Runs`
        """Make the turn of the large model, which begins anew or continues a thought."""
        turn = self._empty_turn(thinks=continued is not None or self._target_thinks)
        limits = self._continue(turn, continued) if continued else self._limits("target")
        return self._run(
            turn,
            self._alone("target"),
            {**self.machine, **limits, "thinks": turn.channel == "thinking", "answer_by": "target"},
            self.sampling,
            make=self.make_run,
            **{**self.settings, "prefetch": False, "has_fallback": has_answer},
        )

    def _continue(self, turn: Turn, thought: Thought) -> dict[str, Any]:
        """Copy a thought into a turn, and return the limits of the rest. If the thought is long enough, close it."""
        for span in thought.turn.spans:
            turn.append(span.author, span.text)
        limits = self._limits(*self._readers, written=thought.tokens)
        if not limits["thinking_limit"].soft:
            turn.closing = CLOSING
        return limits

    @property
    def _target_thinks(self) -> bool:
        """Whether the large model writes a thought that is shown.

        A thought before a structured answer takes two requests. A model that cannot continue its own thought gets one
        request with the tools or the schema. It reasons as its server lets it.
        """
        large = self.backends["target"]
        in_two_requests = self.turn.structured_answer and large.capabilities.limitation is not None
        return self.may_think and large.thinks and not in_two_requests

    def _alone(self, lead: Author) -> DelegationPolicy:
        return DelegationPolicy(trigger=NoTakeovers(lead), boundary=self.policy.boundary)

    def _limits(self, *readers: Author, written: int = 0) -> dict[str, Any]:
        """Return the limits of a run whose turn these models read. `written`: tokens of a thought that it continues."""
        return self.limits.machine_settings(self.turn, [self.backends[name] for name in readers], written=written)

    def _empty_turn(self, *, thinks: bool) -> Turn:
        return Turn(self.turn.history, thinks=thinks, tools=self.turn.tools, schema=self.turn.schema)

    def _run(
        self,
        turn: Turn,
        policy: DelegationPolicy,
        machine: dict[str, Any],
        sampling: dict[str, Any],
        *,
        make: Callable[..., Run] | None = None,
        whole: bool | None = None,
        **settings: Any,
    ) -> Run:
        whole = not policy.has_takeovers if whole is None else whole
        request = Request(machine["max_tokens"], **sampling, whole=whole)
        keywords = {"backends": self.backends, "sampling": request, **settings}
        if make:
            return make(policy, machine, turn, Delegation(policy, **machine), **keywords)
        return Run(turn, Delegation(policy, **machine), **keywords)


def new_run(runs: TurnRuns) -> AnyRun:
    """Make the run of a turn that is not recorded."""
    rule = runs.policy.escalation
    return runs.escalated_run(rule) if rule else runs.run()

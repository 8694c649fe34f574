"""What a backend is: one method that continues a half-written turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.threads import iterate_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from concurrent.futures import Future

    from langchain_spec_thinking.policy.commands import EndReason
    from langchain_spec_thinking.tools import ToolCall
    from langchain_spec_thinking.turn import Turn

    Drafter = Callable[[str, int], tuple[str, int]]
    """Writes ahead: given what the request has brought so far, and how many tokens to write at most, it returns text
    that may follow, and how many tokens that cost. It never fails; where it cannot go on, it returns nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """How to continue a turn.

    Attributes:
        max_tokens: The most to write, in tokens of the model that writes.
        stop: Strings after which nothing is needed. A backend may leave them in the text or out of it.
        temperature: 0 is greedy; None leaves it to the engine.
        top_p: Nucleus sampling; None leaves it to the engine.
        top_k: Sample among the k most likely tokens; None leaves it to the engine.
        seed: For reproducible sampling, where the engine can.
        timeout: The longest to wait for anything, in seconds; None leaves it to the backend.
        draft: What another model wrote right here. The one that is asked may keep as much of it as it would have
            written itself; a backend that cannot check it leaves it.
        drafter: Who writes ahead for it after that.
        top_logprobs: For how many of the likeliest tokens the log-probabilities are wanted; never more than
            `Backend.top_logprobs_max`. 0: for none.
    """

    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    timeout: float | None = None
    draft: str = ""
    drafter: Drafter | None = None
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that continues the turn, in any size, with the number of tokens it cost.

    Think tags stand in the text as `<think>` and `</think>`, whatever the model's own markup is.

    Attributes:
        top_logprobs: Log-probabilities of the likeliest tokens in the place of its first token, the likeliest first, as
            the model itself has them, before temperature and nucleus. None where they were not asked for, are not
            known, or the piece begins inside a token.
    """

    text: str
    tokens: int = 1
    top_logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, whole, with the number of tokens it cost. It comes only in a turn that has tools."""

    call: ToolCall
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request used so far, in tokens; None where the engine does not tell.

    Attributes:
        accepted_tokens: How many of the tokens written another model had drafted.
        drafted_tokens: How many tokens the request's drafter wrote.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    accepted_tokens: int | None = None
    drafted_tokens: int | None = None

    def completed_by(self, before: Usage) -> Usage:
        """Return this usage, with what was told before where it says nothing."""
        told = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(before, **told)


@dataclass(frozen=True, slots=True)
class End:
    """Why the text ended: the model ended the turn (or hit a stop string), or `max_tokens` were written."""

    reason: EndReason
    usage: Usage | None = None


Event = Piece | Call | Usage | End


class Backend(ABC):
    """A model that can continue a turn which somebody else may have begun.

    A backend of your own implements `continue_turn`. Where the work is done by a server, implement `acontinue_turn`
    too; by default it runs the synchronous method in a thread.

    Attributes:
        name: The model, for people and for `response_metadata["model_name"]`.
        thinks: Whether the model reasons between `<think>` and `</think>`.
    """

    name: str
    thinks: bool = False

    @property
    def limitation(self) -> str | None:
        """What users should know of how turns are continued; None where nothing is to be said. The report tells it."""
        return None

    @property
    def context(self) -> int | None:
        """How much the model can read and write, in tokens; None where that is not known."""
        return None

    @property
    def request_tokens_max(self) -> int | None:
        """The most to ask for at once, in tokens; what is missing is asked for after that. None: all of it."""
        return None

    @property
    def top_logprobs_max(self) -> int:
        """For how many tokens the log-probabilities may be asked for; 0 where the model does not tell any."""
        return 0

    @abstractmethod
    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Continue the turn right where its text ends.

        Closing the generator cancels the request. The turn must not be changed.

        Args:
            turn: The conversation and what was written so far.
            request: How much and how to write.

        Yields:
            `Piece`s of text and `Call`s of tools, then an `End`. A `Usage` may come at any time, as soon as something
            is known: a request that is cancelled never gets to its end.

        Raises:
            BackendError: The model cannot be reached or cannot continue the turn.
        """

    def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        """Like `continue_turn`, without blocking the event loop."""
        return iterate_in_thread(self.continue_turn(turn, request))

    def drafter(self, turn: Turn) -> Drafter | None:  # noqa: ARG002 - for those that can
        """Return what writes ahead in a turn for another model to check; None where this model does not."""
        return None

    def prefetch(self, turn: Turn) -> Future[Usage] | None:  # noqa: ARG002 - for those that can
        """Begin to read the turn as it stands, because this model may be asked to go on with it; return at once.

        Returns:
            What that used, when it is done; None where nothing is read ahead.
        """
        return None

    def prefetch_is_free(self, beside: Backend) -> bool:  # noqa: ARG002 - as above
        """Whether reading ahead costs neither money nor the time of the model that writes meanwhile.

        Args:
            beside: The model that writes.
        """
        return False

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text; without a tokenizer at hand, about one for four characters."""
        return -(-len(text) // 4)

    def describe(self) -> dict[str, Any]:
        """Return every setting that changes what the model writes, and no secret. It tells cached answers apart."""
        return {"type": type(self).__name__, "name": self.name, "thinks": self.thinks}

    def __repr__(self) -> str:
        """Show the settings. No secret is among them."""
        settings = ", ".join(f"{key}={value!r}" for key, value in self.describe().items() if key != "type")
        return f"{type(self).__name__}({settings})"

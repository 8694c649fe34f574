"""The backend interface: one method that continues a half-written turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.backends.threads import iterate_in_thread
from langchain_spec_thinking.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from concurrent.futures import Future
    from typing import Self

    from langchain_spec_thinking.backends.diagnosis import Diagnosis
    from langchain_spec_thinking.policy.commands import EndReason
    from langchain_spec_thinking.price import Price
    from langchain_spec_thinking.tools import ToolCall
    from langchain_spec_thinking.turn import Turn

    Drafter = Callable[[str, int], tuple[str, int]]
    """A function that writes a draft.

    It takes the text that the request has produced so far and a token limit. It returns text that may follow, and the
    number of tokens spent on that text. It never raises. If it cannot continue the text, it returns an empty string."""


TOKEN_CHARACTERS_MAX = 16
"""Most characters per token on average. If a server reports fewer tokens for its text, this number counts instead."""


@dataclass(frozen=True, slots=True)
class Request:
    """Limits and sampling settings for continuing a turn.

    Attributes:
        max_tokens: Token limit for the text to write, in tokens of the model that writes. The backend must stop there,
            and then yield `End("length")`.
        stop: Stop strings. The backend's output may include the matched stop string.
        temperature: Sampling temperature. 0 means greedy decoding. None means the engine's default.
        top_p: Nucleus sampling. None means the engine's default.
        top_k: Sample among the k most likely tokens. None means the engine's default.
        seed: Seed for reproducible sampling. Engines without seeds ignore it.
        deadline: The moment by which the turn must be finished. A backend that waits for something stops waiting then.
        draft: Text that another model wrote at this place. The backend may keep as much of the draft as its own model
            would have written. A backend that cannot check drafts ignores it.
        drafter: Function that writes further drafts after `draft`.
        top_logprobs: Number of most likely tokens whose log-probabilities are requested. At most
            `Capabilities.top_logprobs_max`. 0 requests none.
        whole: Whether this model writes the turn to its end, so that no other model continues its text, and no rule
            stops it.
        hidden_tokens: How many further tokens the model may spend on reasoning that it does not show. They do not count
            toward `max_tokens`. A backend of a server adds them to the limit that it sends.
        user: An id of the application's user, which a server gets so that it can detect abuse. Local models ignore it.
    """

    max_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    deadline: Deadline = field(default_factory=Deadline)
    draft: str = ""
    drafter: Drafter | None = None
    top_logprobs: int = 0
    whole: bool = False
    hidden_tokens: int = 0
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of any length that continues the turn, with the number of tokens spent on it.

    Think tags appear in the text as `<think>` and `</think>`, whatever markup the model itself uses.

    Attributes:
        tokens: Number of tokens of the text. None: `Backend.count_tokens` counts them when the turn receives the piece.
            Set it if the model tells the number. For example, it is 1 if each piece is one token.
        top_logprobs: Log-probabilities of the most likely candidates for the first token of this piece, in descending
            order. They are the model's own, before temperature and nucleus sampling. None if they were not requested or
            are not known, or if the piece begins inside a token.
    """

    text: str
    tokens: int | None = None
    top_logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A complete tool call, with the number of tokens spent on it. It occurs only in turns that have tools.

    Attributes:
        tokens: Number of tokens of the call. None: `Backend.count_tokens` counts the name and the arguments.
    """

    call: ToolCall
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a request has used so far. A field is None if the engine does not report it.

    Attributes:
        accepted_tokens: Number of written tokens that come from drafts of another model.
        drafted_tokens: Number of tokens that the request's drafter wrote.
        reasoning_tokens: How many of the completion tokens are reasoning, shown or not.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    accepted_tokens: int | None = None
    drafted_tokens: int | None = None
    reasoning_tokens: int | None = None

    def with_defaults_from(self, earlier: Usage) -> Usage:
        """Return this usage. Fields that are None here take their values from `earlier`, an earlier report."""
        reported = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(earlier, **reported)

    def with_total(self, total: int | None, *, trusted: bool = False) -> Usage:
        """Return this usage with the reasoning among the completion tokens. Some services count it only in the total.

        Other services report totals that are no sums. The difference counts as reasoning in three cases:

        - It equals the reported reasoning.
        - The service counts no text and no reasoning.
        - The service is known for its total.

        Args:
            total: The total number of tokens that the service reports. None if it reports none.
            trusted: Whether the service is known to count the reasoning only in the total.
        """
        if total is None or self.prompt_tokens is None:
            return self
        written = self.completion_tokens or 0
        missing = total - self.prompt_tokens - written
        known = trusted or not (written or self.reasoning_tokens) or missing == self.reasoning_tokens
        if missing <= 0 or not known:
            return self
        return replace(self, completion_tokens=written + missing, reasoning_tokens=missing)


@dataclass(frozen=True, slots=True)
class End:
    """The end of the text and its reason.

    Attributes:
        reason: `"stop"`: the model itself ended its turn, or a stop string matched. If this happens in the thought, the
            policy closes the thought, and the answer begins. This holds in a takeover too. `"length"`: `max_tokens`
            were written, or the model's context is full. After a takeover, the other model then continues.
        usage: The usage of the whole request.
        finish_reason: The server's own word for the end, if the end is not an ordinary one, for example
            `"content_filter"`. It becomes the finish reason of the message, and the report tells it. If the server
            failed, raise a retryable error instead.
        refusal: The words with which the model refuses to answer. They must be among the pieces too, unless other text
            came before them.
    """

    reason: EndReason
    usage: Usage | None = None
    finish_reason: str | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Limitation:
    """Something that is not as asked in this request. The report of the turn includes it.

    Attributes:
        words: What the user should know, with the name of the model.
    """

    words: str


@dataclass(frozen=True, slots=True)
class ReplyFields:
    """What the server sent along with tool calls and wants back with them, for example a signature.

    Attributes:
        fields: The data, which JSON can hold, and `"model"`: which model on which server sent it. Later turns have it
            in `Message.reply_fields`.
    """

    fields: dict[str, Any]


Event = Piece | Call | Usage | Limitation | ReplyFields | End


class Backend(ABC):
    """A model that can continue a turn. Another model may have begun the turn.

    To write your own backend, set `name` and implement `continue_turn`. If a server does the work, implement
    `acontinue_turn` too. By default `acontinue_turn` runs the synchronous method in a thread.

    What a turn contains for a backend:

    - `turn.history` is the conversation, as messages with roles. `turn.body()` is the begun reply, in one string with
      think tags. The prompt is both, rendered for the model, and it must end in the middle of the reply. With a
      tokenizer, a `ChatTemplate` (`backends.replies.chat_templates`) renders both: the prompt is
      `template.prompt_text(turn) + template.quoted_reply_text(turn)`.
    - `turn.pending` is text that follows the committed text for this request only. `turn.body()` contains it. A backend
      that ignores it repeats text after a broken stream, and gives no scores.
    - `turn.tools` are the tools that the model may or must call. The backend must show them to the model and yield a
      `Call` for each call. If it ignores them, the model answers with text. If the backend then does not set
      `Capabilities.tool_calls` either, the report's `degraded` says so.
    - `turn.schema` is a JSON schema that the answer must satisfy. If the backend ignores it, the answer is any text.
      `with_structured_output` raises an error if it cannot parse that text.

    Attributes:
        name: Name of the model. It is shown to users and in `response_metadata["model_name"]`. It is required.
        thinks: Whether the model reasons between `<think>` and `</think>`.
    """

    name: str
    thinks: bool = False

    @property
    def thinking_is_known(self) -> bool:
        """Whether `thinks` is known. If not, `thinks` is False until a reply shows a thought."""
        return True

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do, as far as it knows now. By default nothing is known."""
        return Capabilities()

    @property
    def price(self) -> Price | None:
        """The price of the model's tokens now. None, the default, if it is not known: the report then has no cost.

        A backend with a fixed price may set an attribute of its class instead: `price = Price(1.0, 4.0)`.
        """
        return None

    @abstractmethod
    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Continue the turn at the end of its text.

        Closing the generator cancels the request. Implementations must not change the turn.

        Args:
            turn: The conversation and the text written so far.
            request: Limits and sampling settings.

        Yields:
            `Piece`s of text and `Call`s of tools, then an `End`. A `Usage` or a `Limitation` may come at any time.
            Yield a `Usage` as soon as a count is known, because a cancelled request never reaches its `End`.

        Raises:
            BackendError: The model cannot be reached or cannot continue the turn. Before the first text, the backend
                itself must repeat a request if that may help. After text has arrived, an error with
                `is_retryable = True` (for example a `StreamCutError`) leads to a new request that continues the text.
                Any other error of the target model is subject to `on_target_failure`. Any other error of the
                speculative model ends the turn.

        Exceptions of other classes end the turn. They reach the caller unchanged, whatever `on_target_failure` says.
        So turn expected failures of the model into a `BackendError`.
        """

    def acontinue_turn(self, turn: Turn, request: Request) -> AsyncGenerator[Event, None]:
        """Continue the turn like `continue_turn`, without blocking the event loop."""
        return iterate_in_thread(self.continue_turn(turn, request))

    def drafter(self, turn: Turn) -> Drafter | None:  # noqa: ARG002 - subclasses use it
        """Return a function that writes drafts of this turn for another model to check. None if there is none."""
        return None

    def prefetch(self, turn: Turn) -> Future[Usage] | None:  # noqa: ARG002 - subclasses use it
        """Start to prefill the turn as it stands, and return at once. This model may have to continue the turn soon.

        Returns:
            A future with the tokens used. None if the backend does not prefetch.
        """
        return None

    def prefetch_is_free(self, writer: Backend) -> bool:  # noqa: ARG002 - subclasses use it
        """Return whether prefetching costs no money and does not slow down the model that writes at the same time.

        Args:
            writer: The backend of the model that writes.
        """
        return False

    def connect_ahead(self) -> None:  # noqa: B027 - most backends have no connection
        """Prepare a connection, because this model may have to continue the turn soon. Return at once."""

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text. Without a tokenizer this is an estimate: one token for four characters."""
        return -(-len(text) // 4)

    def token_ids(self, text: str) -> list[int] | None:  # noqa: ARG002 - subclasses use it
        """Return the token ids of a text in the model's vocabulary. None, the default, if there is no tokenizer."""
        return None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the backend itself. Copies of a pair share the loaded model or the connection."""
        return self

    def diagnose(self, found: Diagnosis) -> Diagnosis:
        """Add to the findings of `spec-thinking doctor` what only this kind of backend can find out.

        By default nothing is added except the limitation, as advice.

        Args:
            found: What two ordinary requests showed, and the capabilities of this backend.
        """
        limitation = found.capabilities.limitation
        return replace(found, advice=(*found.advice, limitation)) if limitation else found

    def describe(self) -> dict[str, Any]:
        """Return every setting that changes what the model writes, without secrets.

        The settings are part of the key of cached answers.
        """
        return {"type": type(self).__name__, "name": self.name, "thinks": self.thinks}

    def __repr__(self) -> str:
        """Show the settings. The text contains no secrets."""
        settings = ", ".join(f"{key}={value!r}" for key, value in self.describe().items() if key != "type")
        return f"{type(self).__name__}({settings})"


def not_picklable(backend: Backend) -> TypeError:
    """Return the error of a backend that holds loaded weights, or a key and connections."""
    msg = (
        f"{type(backend).__name__} cannot be pickled, because it holds what another process cannot use or must not "
        "see. Make the backend in the process that uses it."
    )
    return TypeError(msg)

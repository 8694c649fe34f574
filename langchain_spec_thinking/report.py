"""The report of a turn: which model wrote which text, why, and at what cost."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_spec_thinking.backends.base import Usage
    from langchain_spec_thinking.policy.commands import Kind
    from langchain_spec_thinking.price import Price
    from langchain_spec_thinking.turn import Author, Channel, Turn

DROPPED_TEXT_MAX = 1000
"""The maximum length of a dropped text in the report, in characters.

The metadata must stay small. Most dropped texts are one sentence. Only backends that send very large pieces produce
longer ones.
"""
_TEXTS = {"author", "channel", "kind", "text"}
_OPTIONAL_TEXTS = {"cue"}
_CHOICES: dict[str, set[str]] = {
    "author": {"speculative", "target", "inserted"},
    "channel": {"thinking", "answer"},
}
_NUMBER_MAX = 2.0**53
"""Largest size of a number in a saved report. Larger numbers come from broken or hostile files."""


@dataclass(slots=True)
class Segment:
    """A continuous text by one author, for one reason.

    Attributes:
        start: Where the segment begins in its channel, in characters.
        end: Where the segment ends in its channel, in characters.
        tokens: The number of tokens that were written, not requested, in the vocabulary of the author. It is 0 for
            inserted text.
        cue: The cue that led to the segment.
        seconds: The time until the last token of the segment, in seconds. It counts from the request, or from the
            previous segment of the same request.
    """

    author: Author
    channel: Channel
    kind: Kind
    start: int
    end: int
    tokens: int = 0
    cue: str | None = None
    seconds: float = 0.0

    @property
    def is_takeover(self) -> bool:
        """Whether the segment is a takeover of the target model.

        Its answer is not, nor is its text if it leads or if it got the whole question.
        """
        return self.author == "target" and self.kind not in {"answer", "lead", "escalation"}


@dataclass(frozen=True, slots=True)
class Dropped:
    """Text that a model wrote and that is not part of the turn.

    Attributes:
        at: The position in the channel at which the text was dropped, in characters.
        text: The beginning of the text, at most 1000 characters.
        tokens: The number of dropped tokens, in the vocabulary of the author.
    """

    author: Author
    channel: Channel
    at: int
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class TakeoverStart:
    """The start of a takeover of the target model.

    Attributes:
        kind: The rule that led to the takeover.
        cue: The cue that the rule found, if any.
        draft: The text of the speculative model that was dropped for the takeover.
    """

    kind: Kind
    cue: str | None
    draft: str


@dataclass(frozen=True, slots=True)
class Takeover:
    """A complete takeover, reported when the target model hands back.

    Attributes:
        kind: The rule that led to the takeover.
        cue: The cue that the rule found, if any.
        draft: The text of the speculative model that was dropped for the takeover.
        author: The author of the text, always the target model.
        text: The text of the takeover. It is empty if the target model failed or its context was full.
        start: Where the text begins in its channel, in characters.
        end: Where the text ends in its channel, in characters.
        tokens: The number of kept tokens, in the vocabulary of the target model.
        seconds: The time from the request to the hand-over, in seconds.
    """

    kind: Kind
    cue: str | None
    draft: str
    author: Author
    channel: Channel
    text: str
    start: int
    end: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _OpenTakeover:
    """A takeover that is not complete yet, and the position of the turn at its start."""

    start: TakeoverStart
    at: int
    segments: int
    clock: float


@dataclass(slots=True)
class AuthorUsage:
    """The billed usage of one model. It counts every request, unlike the logical usage of the message.

    Attributes:
        requests: Number of requests to the model.
        prompt_tokens: Number of prompt tokens in all requests.
        cached_tokens: How many of the prompt tokens were read from a cache.
        completion_tokens: Number of tokens that the model wrote, with the dropped ones.
        discarded_tokens: Number of tokens that the model wrote and that were dropped.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    discarded_tokens: int = 0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> AuthorUsage:
        """Return the usage of a model in the dict of a report. The cost is not part of it."""
        return cls(**{name: value for name, value in content.items() if name != "cost"})


@dataclass(slots=True)
class DraftUsage:
    """The results of drafts that the target model checked.

    Attributes:
        accepted_tokens: How many tokens of the target model were taken from a draft, in its vocabulary.
        written_tokens: How many tokens the speculative model drafted ahead for the target model (`"ahead"`), in the
            vocabulary of the speculative model. No other number includes them: not the usage of the speculative model,
            and not its prompt tokens.
    """

    accepted_tokens: int = 0
    written_tokens: int = 0


@dataclass
class Report:
    """The record of a turn. It is updated while the turn runs.

    Attributes:
        segments: The segments in the order in which they were written. The segments of a channel, joined, are the text
            that is shown.
        dropped: The dropped texts in the order in which they were written.
        usage: The billed usage of each model.
        prices: The price of each model when the turn began. A model without a price has no cost.
        saved_costs: The cost of each model, if the report was read from a message or a file, which has no prices.
        drafts: The results of drafts that the target model checked.
        prompt_tokens: Number of tokens of the conversation. The model of the first request counts them.
        degraded: What did not work as configured, in the order in which it happened. Empty if everything worked.
        escalated: Why the target model got the whole question, or wrote the rest of the turn. None if it did neither.
        clock: A function that returns seconds from any origin.
    """

    segments: list[Segment] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    usage: dict[Author, AuthorUsage] = field(
        default_factory=lambda: {"speculative": AuthorUsage(), "target": AuthorUsage()}
    )
    prices: Mapping[Author, Price | None] = field(default_factory=dict)
    saved_costs: Mapping[Author, float | None] = field(default_factory=dict)
    drafts: DraftUsage = field(default_factory=DraftUsage)
    prompt_tokens: int | None = None
    degraded: list[str] = field(default_factory=list)
    escalated: str | None = None
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _began: float = field(default=0.0, repr=False)
    _lengths: dict[Channel, int] = field(default_factory=lambda: {"thinking": 0, "answer": 0}, repr=False)
    _cue: str | None = field(default=None, repr=False)
    _marked: float = field(default=0.0, repr=False)
    _open: bool = field(default=False, repr=False)
    _takeover: _OpenTakeover | None = field(default=None, repr=False)
    _prefetches: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = self.clock()

    @property
    def seconds(self) -> float:
        """Seconds since the turn began."""
        return self.clock() - self._began

    @property
    def takeovers(self) -> int:
        """Number of takeovers of the target model. Its answer does not count, nor does its text if it leads."""
        return sum(s.is_takeover for s in self.segments)

    @property
    def completion_tokens(self) -> int:
        """Number of kept tokens of all authors."""
        return sum(s.tokens for s in self.segments)

    @property
    def target_share(self) -> float:
        """The share of the kept tokens that the target model wrote, from 0 to 1."""
        by_target = sum(s.tokens for s in self.segments if s.author == "target")
        return by_target / max(1, self.completion_tokens)

    @property
    def costs(self) -> dict[Author, float | None]:
        """The cost of all requests to each model, in the currency of the prices. None if the price is not known."""
        return {author: self._cost(author) for author in self.usage}

    def _cost(self, author: Author) -> float | None:
        price = self.prices.get(author)
        return price.of(self.usage[author]) if price else self.saved_costs.get(author)

    @property
    def cost(self) -> float | None:
        """The cost of the turn, in the currency of the prices. None if the price of a model is not known."""
        known = [cost for cost in self.costs.values() if cost is not None]
        return sum(known) if len(known) == len(self.usage) else None

    def request(self, author: Author, cue: str | None) -> None:
        """Record a new request to a model."""
        self.usage[author].requests += 1
        self._cue = cue
        self._open = False
        self._marked = self.clock()

    def repeat_request(self, author: Author) -> None:
        """Record a request to a model for the rest of a stream that ended early."""
        self.usage[author].requests += 1
        self._marked = self.clock()

    def commit(self, author: Author, channel: Channel, kind: Kind, text: str, tokens: int = 0) -> None:
        """Record committed text."""
        last = self.segments[-1] if self.segments else None
        if not (self._open and last and (last.author, last.channel, last.kind) == (author, channel, kind)):
            if not text:
                return
            start = self._lengths[channel]
            last = Segment(author, channel, kind, start, start, cue=None if author == "inserted" else self._cue)
            self.segments.append(last)
            self._open = author != "inserted"
        self._lengths[channel] += len(text)
        last.end = self._lengths[channel]
        last.tokens += tokens
        if last.tokens < 0:  # a late correction that concerns earlier segments of the same request too
            excess, last.tokens = -last.tokens, 0
            self._take_back(author, excess)
        if author != "inserted":
            now = self.clock()
            last.seconds += now - self._marked
            self._marked = now

    def _take_back(self, author: Author, tokens: int) -> None:
        """Take tokens from the last segments of an author."""
        for segment in reversed(self.segments):
            if segment.author == author:
                taken = min(segment.tokens, tokens)
                segment.tokens -= taken
                tokens -= taken

    def call(self, author: Author, tokens: int) -> None:
        """Record a tool call, as a segment without text."""
        end = self._lengths["answer"]
        now = self.clock()
        self.segments.append(Segment(author, "answer", "answer", end, end, tokens, self._cue, now - self._marked))
        self._marked, self._open = now, False

    def drop(self, author: Author, channel: Channel, text: str, tokens: int) -> None:
        """Record dropped text."""
        self.usage[author].discarded_tokens += tokens
        if text.strip():
            self.dropped.append(Dropped(author, channel, self._lengths[channel], text[:DROPPED_TEXT_MAX], tokens))

    def take_over(self, channel: Channel, kind: Kind, cue: str | None, draft: str) -> TakeoverStart:
        """Record the start of a takeover, and return it."""
        start = TakeoverStart(kind, cue, draft)
        self._takeover = _OpenTakeover(start, self._lengths[channel], len(self.segments), self.clock())
        return start

    def hand_back(self, turn: Turn) -> list[Takeover]:
        """Record the end of the current takeover, and return it in a list. The list is empty if there is none."""
        begun, self._takeover = self._takeover, None
        if begun is None:
            return []
        text = turn.text(turn.channel)[begun.at :]
        takeover = Takeover(
            **asdict(begun.start),
            author="target",
            channel=turn.channel,
            text=text,
            start=begun.at,
            end=begun.at + len(text),
            tokens=sum(segment.tokens for segment in self.segments[begun.segments :]),
            seconds=self.clock() - begun.clock,
        )
        return [takeover]

    def record_usage(self, author: Author, usage: Usage, before: Usage) -> None:
        """Record the usage of a request. `before` is the usage that the same request has reported already."""
        total = self.usage[author]
        total.prompt_tokens += (usage.prompt_tokens or 0) - (before.prompt_tokens or 0)
        total.cached_tokens += (usage.cached_tokens or 0) - (before.cached_tokens or 0)
        self.drafts.accepted_tokens += (usage.accepted_tokens or 0) - (before.accepted_tokens or 0)
        self.drafts.written_tokens += (usage.drafted_tokens or 0) - (before.drafted_tokens or 0)
        if sum(u.requests for u in self.usage.values()) - self._prefetches == 1:
            self.prompt_tokens = usage.prompt_tokens if usage.prompt_tokens is not None else self.prompt_tokens

    def record_prefetch(self, usage: Usage) -> None:
        """Record a prefetch by the target model. Tokens that it wrote for the prefetch count as discarded."""
        total, written = self.usage["target"], usage.completion_tokens or 0
        total.requests += 1
        self._prefetches += 1
        total.prompt_tokens += usage.prompt_tokens or 0
        total.cached_tokens += usage.cached_tokens or 0
        total.completion_tokens += written
        total.discarded_tokens += written

    def add_degraded(self, reason: str) -> None:
        """Record that something did not work as configured. The same words are recorded only once."""
        if reason not in self.degraded:
            self.degraded.append(reason)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Report:
        """Return the report that `as_dict` converted.

        Raises:
            KeyError: A part is missing.
            TypeError: A field is missing or unknown.
            ValueError: A field has an invalid value.
        """
        for author in content["usage"]:
            _require_valid("author", author)
        used = {author: _checked(usage) for author, usage in content["usage"].items()}
        return cls(
            segments=[Segment(**_checked(segment)) for segment in content["segments"]],
            dropped=[Dropped(**_checked(dropped)) for dropped in content.get("dropped", ())],
            usage={author: AuthorUsage.from_dict(usage) for author, usage in used.items()},
            saved_costs={author: usage.get("cost") for author, usage in used.items()},
            drafts=DraftUsage(**_checked(content.get("drafts", {}))),
            degraded=degraded_list(content["degraded"]),
            escalated=_optional_text("escalated", content.get("escalated")),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the content of `response_metadata["speculative_thinking"]`."""
        return {
            "segments": [asdict(segment) for segment in self.segments],
            "dropped": [asdict(dropped) for dropped in self.dropped],
            "takeovers": self.takeovers,
            "target_share": self.target_share,
            "escalated": self.escalated,
            "usage": {author: {**asdict(self.usage[author]), "cost": cost} for author, cost in self.costs.items()},
            "drafts": asdict(self.drafts),
            "degraded": list(self.degraded),
        }


def degraded_list(stored: Sequence[str] | str | None) -> list[str]:
    """Return `degraded` as a list. Messages and files of earlier versions hold None or a single string instead."""
    if not stored:
        return []
    return [stored] if isinstance(stored, str) else [str(words) for words in stored]


def _optional_text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    msg = f"{name}: expected a text or nothing, got a {type(value).__name__}"
    raise ValueError(msg)


def _checked(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a segment, a dropped text or a usage. Raise an error if one has an invalid value."""
    for name, value in fields.items():
        _require_valid(name, value)
    return fields


def _require_valid(name: str, value: object) -> None:
    if name in _TEXTS or (name in _OPTIONAL_TEXTS and value is not None):
        valid = isinstance(value, str) and value in _CHOICES.get(name, {value})
    elif name in _OPTIONAL_TEXTS or (name == "cost" and value is None):
        valid = True
    else:
        kinds = (int, float) if name in {"seconds", "cost"} else int
        valid = isinstance(value, kinds) and -_NUMBER_MAX < value < _NUMBER_MAX
    if not valid:
        msg = f"{name}: expected the value of a report, got a {type(value).__name__} that it cannot have"
        raise ValueError(msg)

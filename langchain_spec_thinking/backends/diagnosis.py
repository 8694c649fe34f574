"""The findings of the doctor about one model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from langchain_spec_thinking.backends.capabilities import Capabilities

_KEYS = {"continuation": "continues_by", "stops_on_cancel": "stops_on_hangup"}
"""Keys in the JSON of the doctor that differ from the names in `Capabilities`. The keys are public."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A way to continue a turn that was tried, and its result on the server."""

    strategy: str
    outcome: str
    works: bool


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings about one model. None means that a finding is not known.

    Attributes:
        name: Name of the model.
        thinks: Whether the model reasons between think tags.
        capabilities: What the backend says about itself. Findings replace what the backend only assumes.
        error: Why the model cannot be used.
        models: Models that the server lists, if this model is not among them.
        model_there: Whether the server lists this model. True for a model in this process.
        trials: Ways to continue a turn that were tried.
        hides_reasoning: Whether the model spends short requests on reasoning that it does not show.
        streams: Whether text arrives in more than one piece.
        tells_usage: Whether the engine counts tokens, also in streams.
        cached_tokens: Number of prompt tokens that came from a cache when the prompt was sent a second time.
        prompt_tokens: Number of tokens of that prompt.
        first_text: Seconds until the first text.
        tokens_per_second: Speed after the first text.
        logprobs_asked: Whether the model's server answered the question about log-probabilities.
        advice: Facts to know and changes to make.
    """

    name: str
    thinks: bool = False
    capabilities: Capabilities = field(default_factory=Capabilities)
    error: str | None = None
    models: tuple[str, ...] = ()
    model_there: bool | None = None
    trials: tuple[Trial, ...] = ()
    hides_reasoning: bool | None = None
    streams: bool | None = None
    tells_usage: bool | None = None
    cached_tokens: int | None = None
    prompt_tokens: int | None = None
    first_text: float | None = None
    tokens_per_second: float | None = None
    logprobs_asked: bool = True
    advice: tuple[str, ...] = ()

    @property
    def logprobs(self) -> bool | None:
        """Whether the model returns log-probabilities. None if the model could not be asked."""
        return None if self.error or not self.logprobs_asked else self.capabilities.top_logprobs_max > 0

    def as_dict(self) -> dict[str, Any]:
        """Return the findings for JSON."""
        found = asdict(self)
        capabilities = {_KEYS.get(name, name): value for name, value in found.pop("capabilities").items()}
        return {**found, **capabilities, "logprobs": self.logprobs}

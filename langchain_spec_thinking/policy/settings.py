"""The settings of the method. The defaults are the values of the paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from langchain_spec_thinking.policy.boundary import STEP_TOKENS_MAX
from langchain_spec_thinking.policy.budget import Budget  # noqa: TC001 - pydantic reads the annotations
from langchain_spec_thinking.policy.triggers import CueTrigger, Trigger

RECAP_SENTENCE = "Let me check whether there are some wrong steps:"
SENTENCE_TOKENS = 20
"""The length of the first sentence of a draft if `takeover_tokens` is None, in words and punctuation marks."""
_FROM_THE_TRIGGER: Any = "from the trigger"

_AT_LEAST_ONE = (
    "verification_tokens",
    "recap_tokens",
    "recap_tokens_max",
    "reflection_limit",
    "reflection_limit_max",
)
_AT_LEAST_ZERO = ("recap_growth", "reflection_limit_growth", "opening_tokens")


@dataclass(frozen=True)
class DelegationPolicy:
    r"""When the target model takes over, and for how long (arXiv:2504.12329, section 3 and appendix A.2).

    Attributes:
        trigger: The rule that decides at a boundary whether the target model takes over.
        takeover_tokens: Length of a takeover (n1), in tokens of the model that takes over. Verifications, recaps and
            openings have lengths of their own. The trigger examines this many tokens of a draft. For that, words and
            punctuation marks are counted as tokens. `None` gives the target model the whole step, to the next boundary,
            at most 512 tokens. The trigger then examines 20 tokens. The default depends on the trigger: 20 tokens for
            `CueTrigger` and `RandomTrigger`, the whole step for the others.
        verification_tokens: Length of the takeover after a sentence that contains a verification cue, in tokens (n2).
        recap_tokens: Length of the takeover that ends excessive reflection, in tokens (n3).
        recap_growth: By how many tokens `recap_tokens` grows after each such takeover.
        recap_tokens_max: The maximum that `recap_tokens` grows to, in tokens.
        reflection_limit: How many reflecting sentences count as excessive reflection.
        reflection_limit_growth: By how many sentences the limit grows each time it is reached.
        reflection_limit_max: The maximum that the limit grows to, in sentences.
        recap_sentence: Text that is inserted before the takeover that ends excessive reflection. If it is empty, no
            text is inserted.
        opening_tokens: Length of the opening, which the target model writes at the start of the turn, in tokens.
        takeover_every_boundary: Whether the target model begins every paragraph. The decision then needs no draft.
        boundary: The delimiter between steps.
        budget: Limits of how much of the target model a turn may use. None: no limits.
    """

    trigger: Trigger = field(default_factory=CueTrigger)
    takeover_tokens: int | None = _FROM_THE_TRIGGER
    verification_tokens: int = 125
    recap_tokens: int = 125
    recap_growth: int = 25
    recap_tokens_max: int = 200
    reflection_limit: int = 15
    reflection_limit_growth: int = 5
    reflection_limit_max: int = 30
    recap_sentence: str = RECAP_SENTENCE
    opening_tokens: int = 0
    takeover_every_boundary: bool = False
    boundary: str = "\n\n"
    budget: Budget | None = None

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        if not isinstance(self.trigger, Trigger):
            msg = f"trigger: expected a Trigger instance, got {self.trigger!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
        if self.takeover_tokens == _FROM_THE_TRIGGER:
            object.__setattr__(self, "takeover_tokens", self.trigger.takeover_tokens)
        if self.takeover_tokens is not None:
            self._check("takeover_tokens", 1)
        for name in _AT_LEAST_ONE:
            self._check(name, 1)
        for name in _AT_LEAST_ZERO:
            self._check(name, 0)
        if not isinstance(self.boundary, str) or not self.boundary:
            msg = f"boundary: expected a non-empty string, got {self.boundary!r}"
            raise ValueError(msg)
        if not isinstance(self.takeover_every_boundary, bool):
            msg = f"takeover_every_boundary: expected True or False, got {self.takeover_every_boundary!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
        if not isinstance(self.recap_sentence, str):
            msg = f"recap_sentence: expected a string (empty for none), got {self.recap_sentence!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting

    @classmethod
    def non_reasoning(cls, **settings: Any) -> DelegationPolicy:
        """Return the paper's policy for a speculative model that is an instruct model (section 4.3).

        An instruct model does not reason. The target model writes the first 100 tokens and the beginning of every
        paragraph.

        Args:
            **settings: Fields of the policy with other values.
        """
        return cls(**{"opening_tokens": 100, "takeover_every_boundary": True, **settings})

    @property
    def takeover_limit(self) -> int:
        """The maximum length of a takeover that a trigger causes, in tokens of the model that takes over.

        Verifications, recaps and openings have their own lengths, which may be larger.
        """
        return STEP_TOKENS_MAX if self.takeover_tokens is None else self.takeover_tokens

    @property
    def sentence_tokens(self) -> int:
        """The length of the first sentence of a draft, which the trigger examines, in words and punctuation marks."""
        return SENTENCE_TOKENS if self.takeover_tokens is None else self.takeover_tokens

    def _check(self, name: str, minimum: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            msg = f"{name}: expected a whole number of at least {minimum}, got {value!r}"
            raise ValueError(msg)

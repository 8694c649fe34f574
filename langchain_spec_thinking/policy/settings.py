"""The settings of the method. The defaults are the values of the paper."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from langchain_spec_thinking.policy.boundary import STEP_TOKENS_MAX
from langchain_spec_thinking.policy.budget import Budget  # noqa: TC001 - pydantic reads the annotations
from langchain_spec_thinking.policy.cues import Lexicon
from langchain_spec_thinking.policy.escalation import Agreement, Escalation
from langchain_spec_thinking.policy.reference_rules import ReferenceRules
from langchain_spec_thinking.policy.triggers import CueTrigger, NoTakeovers, Trigger
from langchain_spec_thinking.policy.triggers.base import TakeoverTokens  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from langchain_spec_thinking.turn import Author

RECAP_SENTENCE = "Let me check whether there are some wrong steps:"
SENTENCE_TOKENS = 20
"""The length of the first sentence of a draft if `takeover_tokens` is not a number, in words and punctuation marks."""
_FROM_THE_TRIGGER: Any = "from the trigger"
EscalateTo = Literal["restart", "continue"]
"""What the large model gets at an escalation: the question (`"restart"`), or the thought so far (`"continue"`)."""

_AT_LEAST_ONE = (
    "verification_tokens",
    "recap_tokens",
    "recap_tokens_max",
    "reflection_limit",
    "reflection_limit_max",
)
_AT_LEAST_ZERO = ("takeover_interval", "recap_growth", "reflection_limit_growth", "opening_tokens")


@dataclass(frozen=True)
class DelegationPolicy:
    r"""When the target model takes over, and for how long (arXiv:2504.12329, section 3 and appendix A.2).

    Attributes:
        trigger: The rule that decides at a boundary whether the target model takes over.
        takeover_tokens: Length of a takeover (n1), in tokens of the model that takes over. Verifications, recaps and
            openings have lengths of their own. The trigger examines this many tokens of a draft. For that, words and
            punctuation marks are counted as tokens. `None` gives the target model the whole step, to the next boundary,
            at most 512 tokens. `"rest"` gives it the rest of the thought, or of the answer if there is no thought. The
            first takeover is then the last one, and verifications have no length of their own. In both cases the
            trigger examines 20 tokens. The default depends on the trigger: 20 tokens for `CueTrigger` and
            `RandomTrigger`, the whole step for the others.
        takeover_interval: The minimum distance between the end of a takeover and the next one, in kept tokens. At
            boundaries in between, the trigger is not asked.
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
        boundary: The delimiter between steps. A blank line inside a block of code, of a formula or of JSON is no
            boundary.
        budget: Limits of how much of the target model a turn may use. None: no limits.
        escalation: The rule that decides whether the target model gets the whole question. None: it never does.
        escalate_to: What the target model gets then. `"restart"`: the conversation as any chat request, without the
            attempt of the small model. `"continue"`: the conversation and the thought of the small model, which the
            target model continues. If the small model writes no thought, there is nothing to continue.
        reference_rules: In which points the policy does what the reference implementation does. By default in none.
            `paper()` sets them.
    """

    trigger: Trigger = field(default_factory=CueTrigger)
    takeover_tokens: TakeoverTokens = _FROM_THE_TRIGGER
    takeover_interval: int = 0
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
    escalation: Escalation | None = None
    escalate_to: EscalateTo = "restart"
    reference_rules: ReferenceRules = field(default_factory=ReferenceRules)

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        if not isinstance(self.trigger, Trigger):
            msg = f"trigger: expected a Trigger instance, got {self.trigger!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
        if self.takeover_tokens == _FROM_THE_TRIGGER:
            object.__setattr__(self, "takeover_tokens", self.trigger.takeover_tokens)
        if self.takeover_tokens is not None and self.takeover_tokens != "rest":
            self._check("takeover_tokens", 1, " (None: the whole step; 'rest': the rest of the thought)")
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
        self._check_reference_rules()
        self._check_escalation()

    @classmethod
    def gated(cls, **settings: Any) -> DelegationPolicy:
        """Return a policy without takeovers: the small model's answer if it agrees with itself, or the large model's.

        The large model gets an ordinary question. So this policy suits hosted models, which bill every token that they
        read, and which often cannot continue a half-written thought.

        ```python
        DelegationPolicy.gated(escalation=Agreement(samples=3))
        ```

        Args:
            **settings: Fields of the policy with other values.
        """
        return cls(**{"trigger": NoTakeovers(), "escalation": Agreement(), **settings})

    @classmethod
    def non_reasoning(cls, **settings: Any) -> DelegationPolicy:
        """Return the paper's policy for a speculative model that is an instruct model (section 4.3).

        An instruct model does not reason. The target model writes the first 100 tokens and the beginning of every
        paragraph.

        Args:
            **settings: Fields of the policy with other values.
        """
        return cls(**{"opening_tokens": 100, "takeover_every_boundary": True, **settings})

    @classmethod
    def paper(cls, *, choose_large: bool = True, **settings: Any) -> DelegationPolicy:
        """Return a policy that does what the paper's reference implementation does, to reproduce its results.

        `docs/method.md` lists where the default policy differs, and how often. For an instruct model that does not
        reason, add `opening_tokens=100, takeover_every_boundary=True`.

        Args:
            choose_large: Whether a takeover always replaces the draft, as in the paper. False: only if takeover and
                draft belong to different classes (affirmation, reflection, statement).
            **settings: Fields of the policy with other values.
        """
        reference = {
            "trigger": CueTrigger(Lexicon(substrings=True)),
            "reference_rules": ReferenceRules.paper(choose_large=choose_large),
        }
        return cls(**{**reference, **settings})

    @property
    def has_takeovers(self) -> bool:
        """Whether the target model may write a part of a thought. Without that, it gets whole questions or nothing."""
        return self.takeover_every_boundary or self.opening_tokens > 0 or not isinstance(self.trigger, NoTakeovers)

    def has_short_takeovers(self, author: Author) -> bool:
        """Return whether a model is asked for a few tokens: the opening, or takeovers that are not the rest.

        Args:
            author: The model. Recaps do not count here, because few turns have any.
        """
        at_boundaries = self.takeover_every_boundary or not isinstance(self.trigger, NoTakeovers)
        takes_over = at_boundaries and author != self.trigger.lead and self.takeover_limit is not None
        return takes_over or (author == "target" and self.opening_tokens > 0)

    @property
    def takeover_limit(self) -> int | None:
        """The maximum length of a takeover that a trigger causes, in tokens of the model that takes over.

        None if the takeover is the rest. Verifications, recaps and openings have their own lengths, which may be
        larger.
        """
        if self.takeover_tokens == "rest":
            return None
        return STEP_TOKENS_MAX if self.takeover_tokens is None else self.takeover_tokens

    @property
    def sentence_tokens(self) -> int:
        """The length of the first sentence of a draft, which the trigger examines, in words and punctuation marks."""
        return self.takeover_tokens if isinstance(self.takeover_tokens, int) else SENTENCE_TOKENS

    def _check_reference_rules(self) -> None:
        if not isinstance(self.reference_rules, ReferenceRules):
            msg = f"reference_rules: expected ReferenceRules(...), got {self.reference_rules!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
        suits = isinstance(self.trigger, CueTrigger) and isinstance(self.takeover_tokens, int)
        if replace(self.reference_rules, boundaries_in_blocks=False) != ReferenceRules() and not suits:
            msg = (
                "reference_rules: the rules of the reference implementation need a CueTrigger and a number of "
                f"takeover_tokens, got {type(self.trigger).__name__} and takeover_tokens={self.takeover_tokens!r}"
            )
            raise ValueError(msg)

    def _check_escalation(self) -> None:
        if not isinstance(self.escalation, Escalation | None):
            msg = f"escalation: expected a rule such as Agreement() or None, got {self.escalation!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
        if self.escalate_to not in get_args(EscalateTo):
            msg = f"escalate_to: expected 'restart' or 'continue', got {self.escalate_to!r}"
            raise ValueError(msg)

    def _check(self, name: str, minimum: int, or_else: str = "") -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            msg = f"{name}: expected a whole number of at least {minimum}{or_else}, got {value!r}"
            raise ValueError(msg)

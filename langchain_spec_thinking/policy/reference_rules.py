"""Rules of the method's reference implementation that the defaults of this package replace by better ones."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_spec_thinking.policy.commands import Generate


@dataclass(frozen=True)
class ReferenceRules:
    """The points in which a policy follows the reference implementation instead of the defaults of this package.

    `DelegationPolicy.paper()` sets them. Use them only to reproduce results. All of them except `boundaries_in_blocks`
    need a `CueTrigger` and a number of `takeover_tokens`.

    Attributes:
        whole_drafts: Whether a draft is `takeover_tokens` tokens of the small model, also across boundaries and the end
            of the thought, and the trigger sees it only as a whole. Otherwise the first sentence of the step is
            examined while it arrives.
        exact_lengths: Whether a takeover ends after its number of tokens, also inside a word. Otherwise it ends at the
            end of a word.
        skip_boundary_after_takeover: Whether a boundary at the end of a takeover is no boundary for the rules.
        in_answer: Whether takeovers also happen in the answer, after a thought. The small model then leads in the
            answer too. It has no effect if `answer_by` is the target model, or if one model must write the whole answer
            because of tools or a schema.
        keep_agreeing_drafts: Whether a takeover replaces the draft only if they belong to different classes
            (affirmation, reflection, statement). Otherwise it always replaces the draft. The reference implementation
            calls this `choose_large=False`. It needs `whole_drafts`.
        boundaries_in_blocks: Whether a blank line inside a block of code, of a formula or of JSON is a boundary.
            Otherwise it belongs to the block. It has no effect if `boundary` is not made of newlines.
    """

    whole_drafts: bool = False
    exact_lengths: bool = False
    skip_boundary_after_takeover: bool = False
    in_answer: bool = False
    keep_agreeing_drafts: bool = False
    boundaries_in_blocks: bool = False

    def __post_init__(self) -> None:
        """Refuse invalid values, with the name of the field in the error."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool):
                msg = f"{field.name}: expected True or False, got {value!r}"
                raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
        if self.keep_agreeing_drafts and not self.whole_drafts:
            msg = "keep_agreeing_drafts: expected whole_drafts=True too, because a kept draft must be complete"
            raise ValueError(msg)

    @classmethod
    def paper(cls, *, choose_large: bool = True) -> ReferenceRules:
        """Return all rules of the reference implementation.

        Args:
            choose_large: Whether a takeover always replaces the draft, as in the paper.

        Raises:
            ValueError: `choose_large` is neither True nor False.
        """
        if not isinstance(choose_large, bool):
            msg = f"choose_large: expected True or False, got {choose_large!r}"
            raise ValueError(msg)  # noqa: TRY004 - one error type for every bad setting
        return cls(
            whole_drafts=True,
            exact_lengths=True,
            skip_boundary_after_takeover=True,
            in_answer=True,
            keep_agreeing_drafts=not choose_large,
            boundaries_in_blocks=True,
        )


@dataclass(frozen=True, slots=True)
class WholeDraft:
    """The first tokens after a boundary, which the trigger examines as a whole.

    Attributes:
        text: The text.
        head: The part of it before any terminator, and before the possible beginning of one.
        full: Whether all tokens of the draft arrived.
        complete: Whether no more text belongs to the draft, for this or another reason.
        terminated: Whether a terminator follows `head`.
    """

    text: str
    head: str
    full: bool
    complete: bool
    terminated: bool


@dataclass(frozen=True, slots=True)
class RivalDraft:
    """A draft that waits for the takeover that may replace it.

    Attributes:
        draft: The draft.
        text: The part of it that is kept if the takeover does not replace it.
        tokens: The number of tokens of `text`.
        generation: The command for which the draft was written.
    """

    draft: WholeDraft
    text: str
    tokens: int
    generation: Generate | None

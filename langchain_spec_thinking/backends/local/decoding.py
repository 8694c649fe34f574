"""Token ids to text, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLACEMENT = "\ufffd"
_CHARACTER_TOKENS_MAX = 4
"""A character of UTF-8 has at most four bytes; what is no character after as many tokens never will be."""


class IncrementalDecoder:
    """Decodes the tokens of a text as they come, holding back what is only half a character.

    The decoder of the `tokenizers` library gives up on bytes that are no text; models do write such bytes.

    Args:
        tokenizer: The tokenizer.
        context: The last tokens before the text; what a token spells may depend on them (a space at the beginning).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context: list[int]) -> None:
        self._tokenizer = tokenizer
        self._shown = list(context)
        self._pending: list[int] = []

    def add(self, token: int) -> str | None:
        """Add a token and return the text that it completes; None where it completes none yet."""
        self._pending.append(token)
        before, after = self._decode(self._shown), self._decode(self._shown + self._pending)
        incomplete = after.endswith(_REPLACEMENT) or len(after) < len(before)
        if incomplete and len(self._pending) < _CHARACTER_TOKENS_MAX:
            return None
        self._shown, self._pending = self._pending, []
        return after[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

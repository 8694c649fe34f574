"""Incremental decoding of token ids to text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLACEMENT = "\ufffd"
_CHARACTER_TOKENS_MAX = 4
"""A UTF-8 character has at most four bytes. If four tokens make no character, further tokens will not complete one."""


class IncrementalDecoder:
    """Decodes tokens one at a time and holds back incomplete characters.

    The streaming decoder of the `tokenizers` library fails on bytes that are not valid UTF-8. Models do write such
    bytes.

    Args:
        tokenizer: The tokenizer.
        context: The last tokens before the text. The text of a token may depend on them (a space at the beginning).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, context: list[int]) -> None:
        self._tokenizer = tokenizer
        self._shown = list(context)
        self._pending: list[int] = []

    def add(self, token: int) -> str | None:
        """Add a token and return the text that it completes. None if it completes no character yet."""
        self._pending.append(token)
        before, after = self._decode(self._shown), self._decode(self._shown + self._pending)
        incomplete = after.endswith(_REPLACEMENT) or len(after) < len(before)
        if incomplete and len(self._pending) < _CHARACTER_TOKENS_MAX:
            return None
        self._shown, self._pending = self._pending, []
        return after[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

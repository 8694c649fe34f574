"""What a local model keeps of a running turn: its own token ids, and the keys and values it computed for them."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from tokenizers.decoders import DecodeStream
from transformers import DynamicCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_CONTEXT = 8
"""How many tokens an incremental decoder looks back; a token's text depends on the one before it at most."""


class TurnCache:
    """The tokens of one turn as one model sees them, with their KV cache.

    Tokens that the model wrote itself are kept as it wrote them. Text of others is tokenized as a delta, when the model
    is next asked to go on. Nothing is read by the model twice, except for a token that a cut went through.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's configuration; it says what kind of cache the model needs.
        prompt: Token ids of the conversation.
        visible: Text of special tokens that are part of the markup nevertheless (think tags).

    Attributes:
        ids: Token ids of the prompt and the turn.
        cached: How many of them the KV cache holds.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: PretrainedConfig,
        prompt: list[int],
        visible: Mapping[int, str],
    ) -> None:
        self._tokenizer = tokenizer
        self._config = config
        self._visible = visible
        self._prompt = len(prompt)
        self._text = ""
        # Where each token of the turn ends in `_text`. A token that ends inside a character ends one later: it is of
        # use only together with what completes it.
        self._ends: list[int] = []
        self._decoder = DecodeStream(skip_special_tokens=True)
        self.ids = list(prompt)
        self.forget()

    def forget(self) -> None:
        """Start with an empty KV cache."""
        self.cached = 0
        self.cache = DynamicCache(config=self._config)
        self.cache.activate_past_recording()  # sliding windows and linear attention can be cropped only then

    def align(self, text: str) -> None:
        """Make the tokens spell `text`: drop those that do not, add those that are missing.

        Args:
            text: The turn as it stands now, as its text follows the prompt.
        """
        pending = bool(self._ends) and self._ends[-1] > len(self._text)
        if pending or not text.startswith(self._text):
            self._crop(bisect_right(self._ends, _common_prefix(self._text, text)))
        delta = text[len(self._text) :]
        if delta:
            self._extend(delta)
        self._decoder = DecodeStream(ids=self.ids[-_CONTEXT:], skip_special_tokens=True)

    def append(self, token: int) -> str:
        """Add a token that the model wrote and return its text; empty while a character is incomplete."""
        self.ids.append(token)
        text = self._visible.get(token) or self._decoder.step(self._tokenizer.backend_tokenizer, token)
        self._text += text or ""
        self._ends.append(len(self._text) + (text is None))
        return text or ""

    def missing(self) -> list[int]:
        """Return the token ids that the model has to read before it can write the next one; at least one."""
        if self.cached >= len(self.ids):
            self._uncache(len(self.ids) - 1)
        return self.ids[self.cached :]

    def _extend(self, delta: str) -> None:
        anchor = self._anchor if self._ends or self._prompt else ""
        skip = self._tokenizer.encode(anchor, add_special_tokens=False) if anchor else []
        encoded = self._tokenizer(anchor + delta, add_special_tokens=False, return_offsets_mapping=True)
        base = len(self._text) - len(anchor)
        self.ids += encoded["input_ids"][len(skip) :]
        self._ends += [base + end for _, end in encoded["offset_mapping"][len(skip) :]]
        self._text += delta

    @property
    def _anchor(self) -> str:
        """Text to put before a delta where the tokenizer would take its beginning for the beginning of all text.

        SentencePiece vocabularies do: they put a space there. After a line break they do not.
        """
        first = self._tokenizer.convert_ids_to_tokens(self._tokenizer.encode("a", add_special_tokens=False))[0]
        return "\n" if first.startswith("\u2581") else ""

    def _crop(self, keep: int) -> None:
        """Keep the first `keep` tokens of the turn."""
        del self._ends[keep:]
        del self.ids[self._prompt + keep :]
        self._text = self._text[: self._ends[-1] if self._ends else 0]
        if self.cached > len(self.ids):
            self._uncache(len(self.ids))

    def _uncache(self, keep: int) -> None:
        if keep == 0 or not self.cache.is_croppable:
            self.forget()
        else:
            self.cache.crop(keep - self.cached)
            self.cached = keep


def _common_prefix(a: str, b: str) -> int:
    """Return the length of the longest common prefix, by bisection: comparing whole strings is what Python is fast at."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low

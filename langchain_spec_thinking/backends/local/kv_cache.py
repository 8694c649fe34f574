"""What a local model keeps of a running turn: its own token ids, and the keys and values it computed for them."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.local.cache_argument import can_crop
from langchain_spec_thinking.backends.local.decoding import IncrementalDecoder

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from transformers import PreTrainedTokenizerBase

    from langchain_spec_thinking.backends.base import Usage
    from langchain_spec_thinking.backends.local.cache_argument import CacheArgument

_CONTEXT = 8
"""How many tokens an incremental decoder looks back; a token's text depends on the one before it at most."""


_FOLLOWER = "A"


class TurnCache:
    """The tokens of one turn as one model sees them, with their KV cache.

    Tokens that the model wrote itself are kept as it wrote them. Text of others is tokenized as a delta, when the model
    is next asked to go on. Nothing is read by the model twice, except for a token that a cut went through.

    Args:
        tokenizer: The model's tokenizer.
        argument: How the model takes its KV cache, and of what kind that is.
        prompt: Token ids of the conversation.
        visible: Text of special tokens that are part of the markup nevertheless (think tags).
        controls: Texts that are tokenized letter by letter, so as not to become control tokens.

    Attributes:
        ids: Token ids of the prompt and the turn.
        cached: How many tokens the KV cache holds, tokens that were dropped since included.
        writing: Its model continues the turn at the moment.
        reading: Its model reads the turn ahead, or has done so.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        argument: CacheArgument,
        prompt: list[int],
        visible: Mapping[int, str],
        controls: re.Pattern[str],
    ) -> None:
        self._tokenizer = tokenizer
        self._argument = argument
        self._visible = visible
        self._controls = controls
        self._prompt = len(prompt)
        self._text = ""
        # Where each token of the turn ends in `_text`. A token that ends inside a character ends one later: it is of
        # use only together with what completes it.
        self._ends: list[int] = []
        self._decoder = IncrementalDecoder(tokenizer, [])
        self._put_by: tuple[list[int], list[int], str] | None = None
        self._draft: list[int] = []  # what the model has read of a draft, and may still keep
        self.ids = list(prompt)
        self.writing = False
        self.reading: Future[Usage] | None = None
        self.forget()

    def forget(self) -> None:
        """Start with an empty KV cache."""
        self.cached = 0
        self._draft = []
        self._stale = 0
        self._read = 0
        self.cache: Any = self._argument.empty_cache()

    def align(self, text: str) -> None:
        """Make the tokens spell `text`: drop those that do not, add those that are missing.

        Args:
            text: The turn as it stands now, as its text follows the prompt.
        """
        if self._put_by is None:
            self._align(text)
            return
        read = self.ids[: self.cached - self._stale]
        (self.ids, self._ends, self._text), self._put_by = self._put_by, None
        self._align(text)
        self._stale = self.cached - _common_prefix(read, self.ids)

    def align_ahead(self, text: str) -> None:
        """Align for reading or writing ahead: how `align` splits the turn into tokens is not to depend on it.

        Args:
            text: The turn as it stands now, and what another model may have written after that.
        """
        if self._put_by is None:
            self._put_by = [*self.ids], [*self._ends], self._text
        self._align(text)

    def _align(self, text: str) -> None:
        self._draft = []
        if self.inside_character or not text.startswith(self._text):
            self._crop(bisect_right(self._ends, _common_prefix(self._text, text)))
        delta = text[len(self._text) :]
        if delta:
            self._extend(delta)
        self._decoder = IncrementalDecoder(self._tokenizer, self.ids[self._context_start() :])

    def append(self, token: int) -> str:
        """Add a token that the model wrote and return its text; empty while a character is incomplete."""
        if self._draft and token == self._draft.pop(0):
            self._stale -= 1
        else:
            self._draft = []
        self.ids.append(token)
        text = self._visible.get(token) or self._decoder.add(token)
        self._text += text or ""
        self._ends.append(len(self._text) + (text is None))
        return text or ""

    def missing(self) -> list[int]:
        """Return the token ids that the model has to read before it can write the next one; at least one."""
        # The last token is read again where nothing else is new: its scores were not kept. One crop for all there is to
        # crop, since layers with a window keep no more than one crop needs.
        stale = max(self._stale, self.cached + 1 - len(self.ids))
        if stale > 0:
            self._uncache(stale)
        return self.ids[self.cached :]

    def read(self, draft: Sequence[int] = ()) -> None:
        """Note that the model has read what was missing, and a draft after that."""
        self._read += len(self.ids) + len(draft) - self.cached
        self.cached = len(self.ids) + len(draft)
        self._draft, self._stale = list(draft), len(draft)

    def ids_of(self, text: str) -> list[int]:
        """Tokenize what may follow the turn as it stands."""
        return self._encode(text)[0]

    @property
    def takes_drafts(self) -> bool:
        """Whether a draft can be taken back. If not, the whole turn is read again after it, which costs more."""
        return can_crop(self.cache, 1, 1)

    @property
    def inside_character(self) -> bool:
        """Whether the last token ends inside a character."""
        return bool(self._ends) and self._ends[-1] > len(self._text)

    def spares(self, prompt: list[int]) -> int:
        """Return how many tokens of a later turn's prompt need not be read again, if that turn takes this cache over.

        None, where most of the conversation that the cache holds would be thrown away: it may go on.

        Args:
            prompt: Token ids.
        """
        common = self._common(prompt)
        cropped = max(self.cached - common, self.cached + 1 - len(prompt))
        return 0 if 2 * common < self._prompt or not self._can_crop(cropped) else common

    def take_over(self, other: TurnCache) -> None:
        """Go on with the keys and values of a turn that is gone, as far as it began with the same tokens."""
        self._stale = other.cached - other._common(self.ids)
        self.cache, self.cached, self._read = other.cache, other.cached, other._read

    def _common(self, ids: list[int]) -> int:
        """Return how many of these token ids are what the KV cache begins with."""
        return _common_prefix(self.ids[: self.cached - self._stale], ids)

    def _can_crop(self, tokens: int) -> bool:
        """Return whether the last `tokens` tokens can be taken out of the KV cache, and something is left."""
        return tokens < self.cached and (tokens <= 0 or can_crop(self.cache, tokens, self._read))

    def _context_start(self) -> int:
        """Return from which token on the text of the last tokens can be decoded: not from the middle of a character."""
        start = max(0, len(self._ends) - _CONTEXT)
        while start > 0 and self._ends[start - 1] == self._ends[start]:
            start -= 1
        return self._prompt + start if self._ends else max(0, self._prompt - _CONTEXT)

    def _extend(self, delta: str) -> None:
        """Add the tokens of new text, split as they would be in the middle of a text."""
        # Line breaks at the end of a text are one token in vocabularies of GPT-2's kind, but several where a word
        # follows them, as it will.
        ids, ends = self._encode(delta + _FOLLOWER) if delta.endswith("\n") else self._encode(delta)
        last = bisect_right(ends, len(delta))
        if last == 0 or ends[last - 1] != len(delta):  # a vocabulary in which the follower melts into the line break
            ids, ends = self._encode(delta)
            last = len(ids)
        self._ends += [len(self._text) + end for end in ends[:last]]
        self._text += delta
        self.ids += ids[:last]

    def _encode(self, text: str) -> tuple[list[int], list[int]]:
        """Tokenize text that something precedes; return ids, and where each ends in characters."""
        ids, ends, start = [], [], 0
        for quoted in [*self._controls.finditer(text), None]:
            # Text up to the next control text, then that one, letter by letter.
            for piece in [text[start : quoted.start()], *quoted[0]] if quoted else [text[start:]]:
                new, new_ends = self._encode_piece(piece)
                ids += new
                ends += [start + end for end in new_ends]
                start += len(piece)
        return ids, ends

    def _encode_piece(self, text: str) -> tuple[list[int], list[int]]:
        anchor = self._anchor
        before = len(self._tokenizer.encode(anchor, add_special_tokens=False)) if anchor else 0
        encoded = self._tokenizer(anchor + text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"][before:], [end - len(anchor) for _, end in encoded["offset_mapping"]][before:]

    @cached_property
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
        self._stale = max(self._stale, self.cached - len(self.ids))

    def _uncache(self, tokens: int) -> None:
        """Take the last `tokens` tokens out of the KV cache; a cache that cannot do that is made anew."""
        if not self._can_crop(tokens):
            self.forget()
            return
        self.cache.crop(-tokens)
        self.cached -= tokens
        self._stale = self._read = 0


def _common_prefix(a: Sequence[object], b: Sequence[object]) -> int:
    """Return the length of the longest common prefix, by bisection: Python compares whole strings and lists fast."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low

"""The state of a running turn in a local model: its token ids and their KV cache."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.local.cache_argument import can_crop, is_attention_only
from langchain_spec_thinking.backends.local.decoding import IncrementalDecoder
from langchain_spec_thinking.backends.local.drafts import DraftPace

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from transformers import PreTrainedTokenizerBase

    from langchain_spec_thinking.backends.base import Usage
    from langchain_spec_thinking.backends.local.cache_argument import CacheArgument

_CONTEXT = 8
"""Number of tokens that an incremental decoder looks back. A token's text depends on at most the one before it."""


_NEXT_WORD = "A"


class TurnCache:
    """The tokens of one turn in one model, with their KV cache.

    Tokens that the model wrote are kept as they are. Text of other authors is tokenized as a delta when the model next
    has to continue the turn. The model reads every token once, except a token that a cut in the text has split.

    Args:
        tokenizer: The model's tokenizer.
        argument: The model's cache argument.
        prompt: Token ids of the conversation.
        visible: Text of special tokens that are part of the output (think tags), by token id.
        controls: Pattern of texts that are tokenized letter by letter, so that they do not become control tokens.

    Attributes:
        prompt: Token ids of the prompt. They never change.
        ids: Token ids of the prompt and the turn.
        cached: Number of tokens in the KV cache, including tokens that were dropped from the turn since.
        copied: Number of prompt tokens that were copied from another turn in place of being read.
        writing: Whether the model is continuing the turn at the moment.
        draft_pace: How fast the turn is with drafts of another model, and without.
        prefetching: Future of the last prefetch of the turn, which may be done. None if there was none.
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
        self._prompt_tokens = len(prompt)
        self._text = ""
        # End of each token of the turn in `_text`, in characters. A token that ends inside a character has an end one
        # larger, because it can only be kept together with the tokens that complete the character.
        self._ends: list[int] = []
        self._decoder = IncrementalDecoder(tokenizer, [])
        self._saved_state: tuple[list[int], list[int], str] | None = None
        self._draft: list[int] = []  # tokens of a draft that the model has read and may still keep
        self.prompt = prompt
        self.ids = list(prompt)
        self.copied = 0
        self.draft_pace = DraftPace()
        self.writing = False
        self.prefetching: Future[Usage] | None = None
        self.forget()

    def forget(self) -> None:
        """Start again with an empty KV cache."""
        self._prompt_read = 0  # number of tokens of the prompt in the KV cache; set before the KV cache is replaced
        self.cached = 0
        self._draft = []
        self._stale = 0
        self._read_since_crop = 0
        self.cache: Any = self._argument.empty_cache()

    def align(self, text: str) -> None:
        """Make the tokens spell `text`. Drop tokens that differ from it and add tokens for the rest.

        Args:
            text: Text of the turn as it stands now, in the form that follows the prompt.
        """
        if self._saved_state is None:
            self._align(text)
            return
        read = self.ids[: self.cached - self._stale]
        (self.ids, self._ends, self._text), self._saved_state = self._saved_state, None
        self._align(text)
        self._stale = self.cached - _common_prefix(read, self.ids)

    def align_temporarily(self, text: str) -> None:
        """Align the tokens for a prefetch or a draft. The next `align` gives the same tokens as without this call.

        Args:
            text: Text of the turn as it stands now, followed by text that another model may have written.
        """
        if self._saved_state is None:
            self._saved_state = [*self.ids], [*self._ends], self._text
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
        """Add a token that the model wrote and return its text. The text is empty while a character is incomplete."""
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
        """Return the token ids that the model must read before it can choose the next token. There is at least one."""
        # If nothing else is new, the last token is read again, because its logits were not kept. All tokens are cropped
        # at once, because layers with a sliding window keep only as many old tokens as one crop needs.
        stale = max(self._stale, self.cached + 1 - len(self.ids))
        if stale > 0:
            self._uncache(stale)
        return self.ids[self.cached :]

    def mark_read(self, draft: Sequence[int] = ()) -> None:
        """Record that the model has read the missing tokens, and a draft after them."""
        self._read_since_crop += len(self.ids) + len(draft) - self.cached
        self.cached = len(self.ids) + len(draft)
        self._prompt_read = self._prompt_tokens
        self._draft, self._stale = list(draft), len(draft)

    def ids_of(self, text: str) -> list[int]:
        """Tokenize text that may follow the turn as it stands."""
        return self._encode(text)[0]

    @property
    def can_check_drafts(self) -> bool:
        """Whether a rejected draft can be cropped. Otherwise the whole turn would have to be read again."""
        return can_crop(self.cache, 1, 1)

    @property
    def inside_character(self) -> bool:
        """Whether the last token ends inside a character."""
        return bool(self._ends) and self._ends[-1] > len(self._text)

    def reusable_tokens(self, prompt: list[int]) -> int:
        """Return the number of prompt tokens that a later turn saves by taking over this cache.

        Returns 0 if reuse would discard more than half of a conversation that may continue, or if the cache cannot be
        cropped.

        Args:
            prompt: Token ids of the later turn's prompt.
        """
        common = self._common(prompt)
        cropped = max(self.cached - common, self.cached + 1 - len(prompt))
        return 0 if 2 * common < self._prompt_tokens or not self._can_crop(cropped) else common

    def take_over(self, other: TurnCache) -> None:
        """Take over the KV cache of a finished turn, as far as both turns begin with the same tokens."""
        common = other._common(self.ids)
        self._stale = other.cached - common
        self.cache, self.cached, self._read_since_crop = other.cache, other.cached, other._read_since_crop
        self._prompt_read = min(common, self._prompt_tokens)
        other._prompt_read = 0  # this turn overwrites the rest

    def common_prompt(self, prompt: list[int], fewest: int) -> tuple[int, Any]:
        """Return how many tokens of another prompt this cache holds, and the keys and values to copy.

        Other turns call this while this turn may be running. The beginning of its keys and values never changes.

        Args:
            prompt: Token ids of the other prompt.
            fewest: Return 0 if there are fewer tokens than this.
        """
        keys_and_values, read = self.cache, self._prompt_read  # in this order, because `forget` changes both
        if read < fewest or self.prompt[:fewest] != prompt[:fewest] or not is_attention_only(keys_and_values):
            return 0, None
        return min(_common_prefix(self.prompt[:read], prompt), len(prompt) - 1), keys_and_values

    def copy_prompt(self, keys_and_values: Any, tokens: int) -> None:  # noqa: ANN401 - the type depends on the model
        """Replace the KV cache by a copy of another one.

        Args:
            keys_and_values: KV cache of another turn whose prompt begins with the same tokens.
            tokens: How many tokens to copy.
        """
        copy = self._argument.copy_of(keys_and_values, tokens)
        self.copied += tokens - self.cached
        self.cache, self.cached, self._prompt_read = copy, tokens, tokens
        self._stale = self._read_since_crop = 0

    def _common(self, ids: list[int]) -> int:
        """Return the length of the common prefix of the KV cache and these token ids."""
        return _common_prefix(self.ids[: self.cached - self._stale], ids)

    def _can_crop(self, tokens: int) -> bool:
        """Return whether the last `tokens` tokens can be removed from the KV cache so that some tokens remain."""
        return tokens < self.cached and (tokens <= 0 or can_crop(self.cache, tokens, self._read_since_crop))

    def _context_start(self) -> int:
        """Return the first token from which the last tokens can be decoded. It is never inside a character."""
        start = max(0, len(self._ends) - _CONTEXT)
        while start > 0 and self._ends[start - 1] == self._ends[start]:
            start -= 1
        return self._prompt_tokens + start if self._ends else max(0, self._prompt_tokens - _CONTEXT)

    def _extend(self, delta: str) -> None:
        """Add the tokens of new text, split as they would be in the middle of a longer text."""
        # In vocabularies like GPT-2's, line breaks at the end of a text are one token, but several tokens before a
        # word. A word will follow here.
        ids, ends = self._encode(delta + _NEXT_WORD) if delta.endswith("\n") else self._encode(delta)
        last = bisect_right(ends, len(delta))
        if last == 0 or ends[last - 1] != len(delta):  # this vocabulary merges the line break and the next word
            ids, ends = self._encode(delta)
            last = len(ids)
        self._ends += [len(self._text) + end for end in ends[:last]]
        self._text += delta
        self.ids += ids[:last]

    def _encode(self, text: str) -> tuple[list[int], list[int]]:
        """Tokenize text that follows other text. Return token ids and the end of each token, in characters."""
        ids, ends, start = [], [], 0
        for quoted in [*self._controls.finditer(text), None]:
            # First the text before the next control text, then the control text letter by letter.
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
        """Text to put before a delta if the tokenizer would treat the delta's beginning as the beginning of a text.

        SentencePiece vocabularies put a space at the beginning of a text, but not after a line break.
        """
        first = self._tokenizer.convert_ids_to_tokens(self._tokenizer.encode("a", add_special_tokens=False))[0]
        return "\n" if first.startswith("\u2581") else ""

    def _crop(self, keep: int) -> None:
        """Keep the first `keep` tokens of the turn."""
        del self._ends[keep:]
        del self.ids[self._prompt_tokens + keep :]
        self._text = self._text[: self._ends[-1] if self._ends else 0]
        self._stale = max(self._stale, self.cached - len(self.ids))

    def _uncache(self, tokens: int) -> None:
        """Remove the last `tokens` tokens from the KV cache. If that is not possible, start with a new cache."""
        if not self._can_crop(tokens):
            self.forget()
            return
        self.cache.crop(-tokens)
        self.cached -= tokens
        self._stale = self._read_since_crop = 0


def _common_prefix(a: Sequence[object], b: Sequence[object]) -> int:
    """Return the length of the longest common prefix.

    It uses bisection, because Python compares whole strings and lists fast.
    """
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low

"""Forward passes that several running turns share.

A model reads its weights once per pass, however many turns the pass serves. So a pass for sixteen turns costs little
more than a pass for one. No turn waits for others to join: if the model is idle, a turn starts a pass at once. The pass
includes every turn that is waiting at that moment.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from langchain_spec_thinking.backends.local.cache_argument import is_attention_only
from langchain_spec_thinking.backends.local.cache_check import same_scores, two_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache

TURNS_MAX = 64
"""Largest number of turns in one pass."""
TOKENS_MAX = 8192
"""Largest number of tokens in one pass for several turns. A longer prompt gets its own pass."""
_ATTENTION = "spec_thinking_turns"


@dataclass(eq=False)
class _Reader:
    """A turn that waits for its new tokens to be read.

    Attributes:
        cache: Cache of the turn.
        ids: Token ids to read: the tokens missing in the cache, then the draft.
        draft: Token ids to check. Logits are returned from the place before the draft on.
        alone: Whether the turn needs its own pass, because a shared pass failed.
        scores: Logits, of shape (rows, vocabulary). None until the pass is done.
        woken: Set when the logits are there, or when this turn has to run the next pass.
    """

    cache: TurnCache
    ids: list[int]
    draft: Sequence[int] = ()
    alone: bool = False
    scores: torch.Tensor | None = None
    woken: threading.Event = field(default_factory=threading.Event)

    @property
    def rows(self) -> int:
        """Number of places whose logits are returned."""
        return 1 + len(self.draft)


class BatchedForward:
    """The forward passes of one model.

    Args:
        argument: The model (in evaluation mode) and its cache argument.
    """

    def __init__(self, argument: CacheArgument) -> None:
        self._argument = argument
        self._model = model = argument.model
        self._mutex = threading.Lock()  # guards the two fields below; never held during a pass
        self._waiting: list[_Reader] = []
        self._led = False
        # Other models do not pass our arguments to their attention, or nest their text model inside a larger model.
        self._packs = (
            {"logits_to_keep", "position_ids"} <= argument.parameters
            and model._supports_attention_backend  # noqa: SLF001 - transformers has no public name for it
            and model.config is model.config.get_text_config()
            and model.config._attn_implementation == "sdpa"  # noqa: SLF001 - no public name
            and len(set(getattr(model, "hf_device_map", {"": 0}).values())) == 1  # the masks are on one device
        )
        with torch.inference_mode():
            self._packs = self._packs and self._packs_rightly()

    def _packs_rightly(self) -> bool:
        """Return whether a shared pass over two short texts gives the same logits as separate passes.

        The model may pass only some of our arguments to its attention, or use the cache elsewhere.
        """
        parts, alone = [], []
        try:
            for ids, past in zip(two_texts(self._argument), (2, 3), strict=True):
                cache = self._argument.empty_cache()
                if not is_attention_only(cache):
                    return False
                alone.append(self._argument.read(ids, cache, 0)[0])
                cache.crop(past - len(ids))
                parts.append(_Part(ids[past:], cache, past))
            return same_scores(self._packed_pass(parts), torch.cat(alone), self._model.dtype)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception:  # noqa: BLE001 - with unexpected arguments, a model's code may raise anything
            return False

    def read(self, cache: TurnCache, draft: Sequence[int] = ()) -> torch.Tensor:
        """Read the tokens of a turn that its cache does not hold yet, then a draft of what may follow.

        Args:
            cache: Cache of the turn.
            draft: Token ids that may follow.

        Returns:
            Logits of the next token, and of the token after each draft token, of shape (1 + draft, vocabulary).
        """
        alone = False
        while True:
            reader = _Reader(cache, [*cache.missing(), *draft], draft, alone)
            with self._mutex:
                self._waiting.append(reader)
                leads, self._led = not self._led, True
            if leads or self._wait(reader):
                self._lead(reader)
            if reader.scores is not None:
                return reader.scores
            # The shared pass failed, and another turn may be the cause. Try again in a separate pass.
            alone = True

    def _wait(self, reader: _Reader) -> bool:
        """Wait for another turn to run the pass. Return True if this turn has to run the next pass itself."""
        try:
            reader.woken.wait()
        except BaseException:  # interrupted: wake another turn to run the next pass
            with self._mutex:
                if reader in self._waiting:
                    self._waiting.remove(reader)
                    if reader.woken.is_set():
                        self._pass_on()
            raise
        with self._mutex:
            return reader in self._waiting

    def _lead(self, leader: _Reader) -> None:
        """Run one pass for the waiting turns that fit into it, then wake the turn that runs the next pass."""
        with self._mutex:
            together = self._company(leader)
            self._waiting = [reader for reader in self._waiting if reader not in together]
        try:
            with torch.inference_mode():
                scores = self._pass(together)
            parts = torch.split(scores, [reader.rows for reader in together])
            for reader, rows in zip(together, parts, strict=True):
                reader.cache.read(reader.draft)
                reader.scores = rows
        except BaseException as error:  # after an error inside a layer, the caches are inconsistent
            for reader in together:
                reader.cache.forget()
            if len(together) == 1 or not isinstance(error, Exception):
                raise
        finally:
            for reader in together[1:]:
                reader.woken.set()
            with self._mutex:
                self._pass_on()

    def _company(self, leader: _Reader) -> list[_Reader]:
        """Return the turn that runs the pass and the turns that can share it."""
        together, tokens = [leader], len(leader.ids)
        if not self._packs or not _packable(leader):
            return together
        for reader in self._waiting:
            if reader is not leader and _packable(reader) and tokens + len(reader.ids) <= TOKENS_MAX:
                together.append(reader)
                tokens += len(reader.ids)
        return together[:TURNS_MAX]

    def _pass_on(self) -> None:
        """Wake the first waiting turn to run the next pass. If no turn waits, mark the model as idle."""
        self._led = bool(self._waiting)
        if self._led:
            self._waiting[0].woken.set()

    def _pass(self, together: list[_Reader]) -> torch.Tensor:
        """Run the model once and return logits of shape (rows of all turns, vocabulary)."""
        if len(together) == 1:
            reader, cache = together[0], together[0].cache
            scores, cache.cache = self._argument.read(reader.ids, cache.cache, cache.cached, reader.rows)
            return scores
        return self._packed_pass(
            [_Part(reader.ids, reader.cache.cache, reader.cache.cached, reader.rows) for reader in together]
        )

    def _packed_pass(self, parts: list[_Part]) -> torch.Tensor:
        """Run the model once for several turns."""
        device = self._model.device
        ids = torch.tensor([[token for part in parts for token in part.ids]], device=device)
        positions = [part.past + i for part in parts for i in range(len(part.ids))]
        ends = accumulate(len(part.ids) for part in parts)
        wanted = [place for part, end in zip(parts, ends, strict=True) for place in range(end - part.rows, end)]
        with self._own_attention():
            output = self._model(
                input_ids=ids,
                position_ids=torch.tensor([positions], device=device),
                use_cache=False,
                logits_to_keep=torch.tensor(wanted, device=device),
                turns=[_Rows.of(part, device) for part in parts],
            )
        scores: torch.Tensor = output.logits[0]
        return scores

    @contextmanager
    def _own_attention(self) -> Iterator[None]:
        config: Any = self._model.config
        config._attn_implementation, before = _ATTENTION, config._attn_implementation  # noqa: SLF001 - no public setter
        try:
            yield
        finally:
            config._attn_implementation = before  # noqa: SLF001 - no public setter


def _packable(reader: _Reader) -> bool:
    """Return whether a turn can share a pass. Layers with a sliding window or a state would need their own masks."""
    return not reader.alone and is_attention_only(reader.cache.cache)


@dataclass(frozen=True)
class _Part:
    """One turn's input of a shared pass.

    Attributes:
        ids: Ids of the tokens to read.
        cache: Cache of the earlier tokens.
        past: Number of tokens in the cache.
        rows: Number of places, counted from the end, whose logits are returned.
    """

    ids: list[int]
    cache: Any
    past: int
    rows: int = 1


@dataclass(frozen=True)
class _Rows:
    """One turn's rows in the attention of a shared pass.

    Attributes:
        tokens: Number of new tokens.
        mask: Attention mask of shape (1, 1, new tokens, all tokens). None for a single new token.
        cache: Keys and values of the earlier tokens.
    """

    tokens: int
    mask: torch.Tensor | None
    cache: Any

    @classmethod
    def of(cls, part: _Part, device: torch.device) -> _Rows:
        new = len(part.ids)
        total = part.past + new
        mask = None
        if new > 1:
            mask = torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)[None, None]
        return cls(new, mask, part.cache)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001 - the interface of transformers
    *,
    turns: list[_Rows],
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute attention turn by turn. Each turn sees only its own past, so nothing is padded and nothing is copied."""
    sizes = [rows.tokens for rows in turns]
    outputs = []
    for rows, q, k, v in zip(turns, *(torch.split(x, sizes, 2) for x in (query, key, value)), strict=True):
        keys, values = rows.cache.update(k, v, module.layer_idx)
        output, _ = sdpa_attention_forward(module, q, keys, values, rows.mask, is_causal=False, **kwargs)
        outputs.append(output)
    return torch.cat(outputs, 1), None


AttentionInterface.register(_ATTENTION, _attend)

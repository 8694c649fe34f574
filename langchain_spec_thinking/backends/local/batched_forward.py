"""Forward passes that several running turns share.

A model reads its weights once per pass, however many turns the pass serves. So a pass for sixteen turns costs little
more than a pass for one. A pass includes every turn that is waiting when it begins, except turns whose prompt another
turn of the pass is about to read: they copy it and join the next pass.

A turn that got its logits chooses a token and comes back at once. So the next pass waits a moment for the turns of the
last one. Without this, two turns would alternate, and each pass would serve one of them. The wait is bounded by the
time of a pass: a wait that was for nothing costs no more than the pass that it could have saved. Nobody waits for a
turn that has ended, or whose reader makes it come back late.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from langchain_spec_thinking.backends.local.cache_argument import is_attention_only
from langchain_spec_thinking.backends.local.cache_check import same_scores, two_texts
from langchain_spec_thinking.backends.local.recorded_pass import FixedLayer, RecordedPasses
from langchain_spec_thinking.backends.local.shared_prompts import SharedPrompts, is_read_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache
    from langchain_spec_thinking.backends.local.recorded_pass import Buffers, Recorder

TURNS_MAX = 64
"""Largest number of turns in one pass."""
TOKENS_MAX = 8192
"""Largest number of tokens in one pass for several turns. A longer prompt gets its own pass."""
_ATTENTION = "spec_thinking_turns"


@dataclass(eq=False)
class _PendingTurn:
    """A turn that waits for its new tokens to be read.

    Attributes:
        cache: Cache of the turn.
        ids: Token ids to read: the tokens missing in the cache, then the draft.
        draft: Token ids to check. Logits are returned from the place before the draft on.
        own_pass: Whether the turn needs its own pass, because a shared pass failed.
        punctual: Whether the turn came back at once after its last pass.
        scores: Logits, of shape (rows, vocabulary). None until the pass is done.
        woken: Set when the logits are there, or when this turn has to run the next pass.
    """

    cache: TurnCache
    ids: list[int]
    draft: Sequence[int] = ()
    own_pass: bool = False
    punctual: bool = True
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

    Attributes:
        patience: How long a pass waits for the turns of the last pass, as a multiple of the time of a pass.
    """

    def __init__(self, argument: CacheArgument) -> None:
        self.patience = 1.0
        self._argument = argument
        self._model = model = argument.model
        self._mutex = threading.Lock()  # guards the fields below; never held during a pass
        self._returned = threading.Condition(self._mutex)  # notified when no turn is expected back any more
        self._waiting: list[_PendingTurn] = []
        self._running = False
        self._returning: set[TurnCache] = set()  # turns of the last pass that are expected back at once
        self._left: WeakKeyDictionary[TurnCache, float] = WeakKeyDictionary()  # when each turn got its logits
        self._ended = self._step_seconds = 0.0  # end of the last pass, and time of a pass over a few tokens
        self._prompts = SharedPrompts()  # used by the turn that runs the pass
        self._recorded: RecordedPasses | None = None
        # Other models do not pass our arguments to their attention, or nest their text model inside a larger model.
        self._can_batch = (
            {"logits_to_keep", "position_ids"} <= argument.parameters
            and model._supports_attention_backend  # noqa: SLF001 - transformers has no public name for it
            and model.config is model.config.get_text_config()
            and model.config._attn_implementation == "sdpa"  # noqa: SLF001 - no public name
            and len(set(getattr(model, "hf_device_map", {"": 0}).values())) == 1  # the masks are on one device
        )
        with torch.inference_mode():
            self._can_batch = self._can_batch and self._batches_correctly()

    def record_passes(self, recorder: Recorder) -> str | None:
        """Record passes over one token from now on. Return why this is not possible, or None.

        Args:
            recorder: Records the passes.
        """
        if self._recorded:
            return None
        if not self._can_batch:
            return "only models whose turns can share a pass can be compiled"
        with self._mutex:
            if self._running:
                return "turns of the model are running"
            self._running = True
        try:
            recorded = RecordedPasses(self._argument, self._recordable_pass, recorder)
            problem = recorded.problem()
        finally:
            with self._mutex:
                self._wake_next()
        self._recorded = None if problem else recorded
        return problem

    def _batches_correctly(self) -> bool:
        """Return whether a shared pass over two short texts gives the same logits as separate passes.

        The model may pass only some of our arguments to its attention, or use the cache elsewhere.
        """
        parts, separate = [], []
        try:
            for ids, past in zip(two_texts(self._argument), (2, 3), strict=True):
                cache = self._argument.empty_cache()
                if not is_attention_only(cache):
                    return False
                separate.append(self._argument.read(ids, cache, 0)[0])
                cache.crop(past - len(ids))
                parts.append(_Part(ids[past:], cache, past))
            return same_scores(self._shared_pass(parts), torch.cat(separate), self._model.dtype)
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
        own_pass = False
        while True:
            pending = _PendingTurn(cache, [*cache.missing(), *draft], draft, own_pass)
            with self._mutex:
                pending.punctual = time.monotonic() <= self._left.get(cache, inf) + self._longest_wait
                self._expect_no_more(cache)
                self._waiting.append(pending)
                runs_pass, self._running = not self._running, True
            if runs_pass or self._wait(pending):
                self._run_pass(pending)
            if pending.scores is not None:
                return pending.scores
            # The shared pass failed, and another turn may be the cause. Try again in a separate pass.
            own_pass = True

    def leave(self, cache: TurnCache) -> None:
        """Do not expect a turn back: it has ended, or the other model goes on with it."""
        with self._mutex:
            self._left.pop(cache, None)
            self._expect_no_more(cache)

    def _expect_no_more(self, cache: TurnCache) -> None:
        self._returning.discard(cache)
        if not self._returning:
            self._returned.notify_all()

    @property
    def _longest_wait(self) -> float:
        return self.patience * self._step_seconds

    def _wait_for_returning(self) -> None:
        """Wait for the turns of the last pass, but not long after its end."""
        with self._returned:
            left = self._ended + self._longest_wait - time.monotonic()
            if self._returning and left > 0:
                self._returned.wait_for(lambda: not self._returning, left)
            self._returning.clear()

    def _wait(self, pending: _PendingTurn) -> bool:
        """Wait for another turn to run the pass. Return True if this turn has to run the next pass itself."""
        try:
            pending.woken.wait()
        except BaseException:  # interrupted: wake another turn to run the next pass
            with self._mutex:
                if pending in self._waiting:
                    self._waiting.remove(pending)
                    if pending.woken.is_set():
                        self._wake_next()
            raise
        with self._mutex:
            return pending in self._waiting

    def _run_pass(self, first: _PendingTurn) -> None:
        """Run one pass for the waiting turns that fit into it, then wake the turn that runs the next pass."""
        batch = [first]
        try:
            self._wait_for_returning()
            with torch.inference_mode():
                with self._mutex:
                    waiting = list(self._waiting)
                self._copy_prompts(waiting)
                batch = self._take_batch(first, waiting)
                scores = self._timed_pass(batch)
            parts = torch.split(scores, [pending.rows for pending in batch])
            for pending, rows in zip(batch, parts, strict=True):
                pending.cache.mark_read(pending.draft)
                self._prompts.add(pending.cache)
                pending.scores = rows
        except BaseException as error:  # after an error inside a layer, the caches are inconsistent
            for pending in batch:
                pending.cache.forget()
            if len(batch) == 1 or not isinstance(error, Exception):
                raise
        finally:
            for pending in batch[1:]:
                pending.woken.set()
            with self._mutex:
                self._waiting = [pending for pending in self._waiting if pending is not first]
                self._wake_next()

    def _copy_prompts(self, waiting: list[_PendingTurn]) -> None:
        """Copy what other turns have read of the prompts of waiting turns."""
        for pending in waiting:
            with suppress(Exception):  # mostly out of memory: the turn reads its prompt itself, and may raise the error
                if self._prompts.copy_to(pending.cache):
                    pending.ids = [*pending.cache.missing(), *pending.draft]

    def _take_batch(self, first: _PendingTurn, waiting: list[_PendingTurn]) -> list[_PendingTurn]:
        """Return the turns of the pass, all of which are in `waiting`.

        A turn that began to wait later joins the next pass, because `_copy_prompts` has not seen it.
        """
        with self._mutex:
            batch = self._select_batch(first, [pending for pending in waiting if pending in self._waiting])
            self._waiting = [pending for pending in self._waiting if pending not in batch]
        return batch

    def _select_batch(self, first: _PendingTurn, waiting: list[_PendingTurn]) -> list[_PendingTurn]:
        """Return the turn that runs the pass and the turns that can share it."""
        batch, tokens = [first], len(first.ids)
        if not self._can_batch or not _can_share_pass(first):
            return batch
        for pending in waiting:
            if pending is first or not _can_share_pass(pending) or tokens + len(pending.ids) > TOKENS_MAX:
                continue
            if not is_read_by(pending.cache, [other.cache for other in batch]):
                batch.append(pending)
                tokens += len(pending.ids)
        return batch[:TURNS_MAX]

    def _wake_next(self) -> None:
        """Wake the first waiting turn to run the next pass. If no turn waits, mark the model as idle."""
        self._running = bool(self._waiting)
        if self._running:
            self._waiting[0].woken.set()

    def _timed_pass(self, batch: list[_PendingTurn]) -> torch.Tensor:
        """Run the model once, and expect the turns back that have been punctual."""
        began = time.monotonic()
        scores = self._pass(batch)
        if scores.is_cuda:  # every turn needs its logits at once, so nothing is lost
            torch.cuda.current_stream(scores.device).synchronize()  # no other stream: a pass may be recorded there
        with self._mutex:
            self._ended = time.monotonic()
            if sum(len(pending.ids) for pending in batch) <= TURNS_MAX:
                self._step_seconds = self._ended - began
            self._left.update((pending.cache, self._ended) for pending in batch)
            if self._can_batch:
                self._returning = {pending.cache for pending in batch if pending.punctual}
        return scores

    def _pass(self, batch: list[_PendingTurn]) -> torch.Tensor:
        """Run the model once and return logits of shape (rows of all turns, vocabulary)."""
        if len(batch) == 1:
            pending, cache = batch[0], batch[0].cache
            if self._recorded and len(pending.ids) == 1:
                replayed = self._recorded.read(pending.ids[0], cache.cache, cache.cached)
                if replayed is not None:
                    return replayed
            scores, cache.cache = self._argument.read(pending.ids, cache.cache, cache.cached, pending.rows)
            return scores
        return self._shared_pass(
            [_Part(pending.ids, pending.cache.cache, pending.cache.cached, pending.rows) for pending in batch]
        )

    def _shared_pass(self, parts: list[_Part]) -> torch.Tensor:
        """Run the model once for several turns."""
        device = self._model.device
        ids = torch.tensor([[token for part in parts for token in part.ids]], device=device)
        positions = [part.past + i for part in parts for i in range(len(part.ids))]
        ends = accumulate(len(part.ids) for part in parts)
        logit_places = [place for part, end in zip(parts, ends, strict=True) for place in range(end - part.rows, end)]
        return self._attend_by_turns(
            ids,
            torch.tensor([positions], device=device),
            torch.tensor(logit_places, device=device),
            [_Rows.of(part, device) for part in parts],
        )

    def _recordable_pass(self, ids: torch.Tensor, position: torch.Tensor, buffers: Buffers) -> torch.Tensor:
        """Run the model over one token of one turn, with operations that do not depend on the position."""
        capacity = buffers[0][0].shape[-2]
        mask = (torch.arange(capacity, device=ids.device) <= position)[None, None, None]
        layers = [FixedLayer(keys, values, position) for keys, values in buffers]
        return self._attend_by_turns(ids, position[None], 1, [_Rows(1, mask, layers)])

    def _attend_by_turns(
        self, ids: torch.Tensor, positions: torch.Tensor, kept: torch.Tensor | int, turns: list[_Rows]
    ) -> torch.Tensor:
        with self._own_attention():
            output = self._model(
                input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=kept, turns=turns
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


def _can_share_pass(pending: _PendingTurn) -> bool:
    """Return whether a turn can share a pass. Layers with a sliding window or a state would need their own masks."""
    return not pending.own_pass and is_attention_only(pending.cache.cache)


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
        layers: Keys and values of the earlier tokens, layer by layer.
    """

    tokens: int
    mask: torch.Tensor | None
    layers: Sequence[Any]

    @classmethod
    def of(cls, part: _Part, device: torch.device) -> _Rows:
        new = len(part.ids)
        total = part.past + new
        mask = None
        if new > 1:
            mask = torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)[None, None]
        return cls(new, mask, part.cache.layers)


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
    # In a pass for many turns of a small model, most of the time is spent in this loop.
    direct = query.shape[1] == key.shape[1] and kwargs.get("position_bias") is None
    outputs = []
    layer: Any = module.layer_idx  # torch types attributes of modules as tensors
    for rows, q, k, v in zip(turns, *(torch.split(x, sizes, 2) for x in (query, key, value)), strict=True):
        keys, values = rows.layers[layer].update(k, v)
        if direct:
            output = scaled_dot_product_attention(q, keys, values, rows.mask, scale=kwargs.get("scaling"))
            outputs.append(output.transpose(1, 2))
        else:
            outputs.append(sdpa_attention_forward(module, q, keys, values, rows.mask, is_causal=False, **kwargs)[0])
    return torch.cat(outputs, 1), None


AttentionInterface.register(_ATTENTION, _attend)

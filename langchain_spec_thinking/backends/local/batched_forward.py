"""Turns that run at the same time share the forward passes of their model.

A model reads its weights once a pass, however many turns the pass serves, so sixteen turns in one pass cost little more
than one. Nobody waits for company: whoever finds the model idle reads at once, for everybody who is waiting by then.
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
"""Most turns that share one pass."""
TOKENS_MAX = 8192
"""Most tokens that are read in one pass for several turns; a longer prompt is read by itself."""
_ATTENTION = "spec_thinking_turns"


@dataclass(eq=False)
class _Reader:
    """A turn that wants its missing tokens read.

    Attributes:
        ids: What to read: what is missing, then the draft.
        draft: What is to be checked; scores are wanted from the place before it on.
        alone: It is to be read in a pass of its own: one that it shared has failed.
        woken: Set when there are scores, or when this reader is to lead the next pass.
    """

    cache: TurnCache
    ids: list[int]
    draft: Sequence[int] = ()
    alone: bool = False
    scores: torch.Tensor | None = None
    woken: threading.Event = field(default_factory=threading.Event)

    @property
    def rows(self) -> int:
        """For how many places scores are wanted."""
        return 1 + len(self.draft)


class BatchedForward:
    """The forward passes of one model.

    Args:
        argument: The model, in evaluation mode, and how it takes its caches.
    """

    def __init__(self, argument: CacheArgument) -> None:
        self._argument = argument
        self._model = model = argument.model
        self._mutex = threading.Lock()  # guards the two below; never held during a pass
        self._waiting: list[_Reader] = []
        self._led = False
        # Models outside this set do not hand our arguments down to their attention, or hide their text model in a part.
        self._packs = (
            {"logits_to_keep", "position_ids"} <= argument.parameters
            and model._supports_attention_backend  # noqa: SLF001 - transformers has no public name for it
            and model.config is model.config.get_text_config()
            and model.config._attn_implementation == "sdpa"  # noqa: SLF001 - as above
            and len(set(getattr(model, "hf_device_map", {"": 0}).values())) == 1  # our masks stay on one device
        )
        with torch.inference_mode():
            self._packs = self._packs and self._packs_rightly()

    def _packs_rightly(self) -> bool:
        """Return whether the model reads two short texts in one pass as it reads each alone.

        A model may hand only a part of our arguments down to its attention, or look at the cache elsewhere.
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
        except Exception:  # noqa: BLE001 - whatever a model's code raises that is given more than it expects
            return False

    def read(self, cache: TurnCache, draft: Sequence[int] = ()) -> torch.Tensor:
        """Read what the model has not read yet of a turn, and a draft of what may follow.

        Returns:
            Scores of the next token, and of that after each token of the draft, of shape (1 + draft, vocabulary).
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
            # A pass that this turn shared has failed, for whatever reason: try again, without company.
            alone = True

    def _wait(self, reader: _Reader) -> bool:
        """Wait for others to read; return whether this reader is to lead the next pass instead."""
        try:
            reader.woken.wait()
        except BaseException:  # interrupted: who was to lead has to pass the lead on
            with self._mutex:
                if reader in self._waiting:
                    self._waiting.remove(reader)
                    if reader.woken.is_set():
                        self._pass_on()
            raise
        with self._mutex:
            return reader in self._waiting

    def _lead(self, leader: _Reader) -> None:
        """Read for all who wait, as far as they fit into one pass, then pass the lead on."""
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
        except BaseException as error:  # interrupted in mid-layer, the caches are of no use
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
        """Return the leader and those who may be read with it."""
        together, tokens = [leader], len(leader.ids)
        if not self._packs or not _packable(leader):
            return together
        for reader in self._waiting:
            if reader is not leader and _packable(reader) and tokens + len(reader.ids) <= TOKENS_MAX:
                together.append(reader)
                tokens += len(reader.ids)
        return together[:TURNS_MAX]

    def _pass_on(self) -> None:
        """Wake who is to lead next; whoever comes first where nobody waits."""
        self._led = bool(self._waiting)
        if self._led:
            self._waiting[0].woken.set()

    def _pass(self, together: list[_Reader]) -> torch.Tensor:
        """Run the model once; scores of shape (rows of all turns, vocabulary)."""
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
            config._attn_implementation = before  # noqa: SLF001 - as above


def _packable(reader: _Reader) -> bool:
    """Whether a turn may be read with others: layers with a window or a state need masks of their own."""
    return not reader.alone and is_attention_only(reader.cache.cache)


@dataclass(frozen=True)
class _Part:
    """What one turn wants of a packed pass.

    Attributes:
        ids: The tokens to read.
        cache: Those before them.
        past: How many these are.
        rows: For how many of the last places scores are wanted.
    """

    ids: list[int]
    cache: Any
    past: int
    rows: int = 1


@dataclass(frozen=True)
class _Rows:
    """One turn's part of a packed pass: so many new tokens, what may see what, and the keys and values before them."""

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
    """Attend turn by turn: each sees its own past alone, however long, so nothing is padded and nothing is copied."""
    sizes = [rows.tokens for rows in turns]
    outputs = []
    for rows, q, k, v in zip(turns, *(torch.split(x, sizes, 2) for x in (query, key, value)), strict=True):
        keys, values = rows.cache.update(k, v, module.layer_idx)
        output, _ = sdpa_attention_forward(module, q, keys, values, rows.mask, is_causal=False, **kwargs)
        outputs.append(output)
    return torch.cat(outputs, 1), None


AttentionInterface.register(_ATTENTION, _attend)

"""A KV cache layer that grows in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    import torch

_CAPACITY_MIN = 64
"""Initial capacity, in tokens."""


class GrowingLayer(DynamicLayer):
    """A KV cache layer that writes the keys and values of each token once.

    The layer of transformers copies all keys and values for every new token, so n tokens cost about n squared copies.
    This layer allocates more memory than it needs, and doubles its capacity when it is full. `keys` and `values` are
    views of the used part, so other code can use them as usual. Cropping the layer takes a shorter view. A recorded
    pass changes `tokens` and the memory only. The next usual pass makes the views again.

    Attributes:
        tokens: Number of tokens in the layer.
        buffers: Memory of the keys and of the values. The capacity is a power of two, so that recorded passes fit the
            layers of many turns.
    """

    tokens = 0
    buffers: tuple[torch.Tensor, torch.Tensor]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: object,  # noqa: ARG002 - part of the interface
        **kwargs: object,  # noqa: ARG002
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values of new tokens, and return those of all tokens.

        All have shape (batch, heads, tokens, width).
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.tokens = 0
            self.buffers = _with_capacity(key_states), _with_capacity(value_states)
        used, new = self.tokens, key_states.shape[-2]
        total = used + new
        if total > self.buffers[0].shape[-2]:
            keys, values = self.beginning(used)
            self.buffers = _with_capacity(key_states, keys), _with_capacity(value_states, values)
        keys, values = self.buffers
        keys.narrow(-2, used, new).copy_(key_states)
        values.narrow(-2, used, new).copy_(value_states)
        return self._show(total)

    def get_seq_length(self) -> int:
        """Return the number of tokens in the layer."""
        return self.tokens if self.is_initialized else 0

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the last tokens.

        Args:
            tokens_to_remove: Number of tokens, as a negative number.
        """
        if tokens_to_remove < 0 and self.is_initialized:
            self._show(self.tokens + tokens_to_remove)

    def beginning(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of the first tokens. A crop in another thread does not affect them."""
        keys, values = self.buffers
        return keys.narrow(-2, 0, tokens), values.narrow(-2, 0, tokens)

    def _show(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.tokens = tokens
        self.keys, self.values = shown = self.beginning(tokens)
        return shown


def _with_capacity(new: torch.Tensor, old: torch.Tensor | None = None) -> torch.Tensor:
    """Return a tensor that begins with the old tokens and has room for the new ones. Its capacity is a power of two.

    The rest of the tensor is 0. Attention with a mask multiplies the hidden values by 0, and NaN times 0 would be NaN.
    """
    used = 0 if old is None else old.shape[-2]
    capacity = 1 << (used + new.shape[-2] - 1).bit_length()
    buffer = new.new_zeros(*new.shape[:-2], max(_CAPACITY_MIN, capacity), new.shape[-1])
    if old is not None:
        buffer[..., :used, :] = old
    return buffer

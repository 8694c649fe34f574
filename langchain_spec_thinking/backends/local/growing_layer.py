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
    views of the used part, so other code can use them as usual. To crop the layer is to take a shorter view.
    """

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
            self._buffers = _with_capacity(key_states), _with_capacity(value_states)
        used = self.get_seq_length()
        total = used + key_states.shape[-2]
        if total > self._buffers[0].shape[-2]:
            self._buffers = _with_capacity(key_states, self.keys), _with_capacity(value_states, self.values)
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., used:total, :] = new
        self.keys, self.values = (buffer[..., :total, :] for buffer in self._buffers)
        return self.keys, self.values

    def beginning(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of the first tokens. A crop in another thread does not affect them."""
        keys, values = self._buffers
        return keys[..., :tokens, :], values[..., :tokens, :]


def _with_capacity(new: torch.Tensor, old: torch.Tensor | None = None) -> torch.Tensor:
    """Return a tensor that begins with the old tokens and has a capacity of twice the old and new tokens together."""
    used = 0 if old is None else old.shape[-2]
    buffer = new.new_empty(*new.shape[:-2], max(_CAPACITY_MIN, 2 * (used + new.shape[-2])), new.shape[-1])
    if old is not None:
        buffer[..., :used, :] = old
    return buffer

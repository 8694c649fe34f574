"""A KV cache layer that grows in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    import torch

_ROOM_MIN = 64
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
            self._room = _with_room(key_states), _with_room(value_states)
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        if total > self._room[0].shape[-2]:
            self._room = _with_room(key_states, self.keys), _with_room(value_states, self.values)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[..., held:total, :] = new
        self.keys, self.values = (room[..., :total, :] for room in self._room)
        return self.keys, self.values


def _with_room(new: torch.Tensor, old: torch.Tensor | None = None) -> torch.Tensor:
    """Return a tensor that begins with the old tokens and has a capacity of twice the old and new tokens together."""
    held = 0 if old is None else old.shape[-2]
    room = new.new_empty(*new.shape[:-2], max(_ROOM_MIN, 2 * (held + new.shape[-2])), new.shape[-1])
    if old is not None:
        room[..., :held, :] = old
    return room

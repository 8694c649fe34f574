"""Keys and values that grow in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    import torch

_ROOM_MIN = 64
"""Tokens there is room for at first."""


class GrowingLayer(DynamicLayer):
    """A layer of a KV cache that writes each token once.

    That of transformers copies all keys and values for every token: after n tokens it has moved n squared of them.
    This one has room for more than it holds, and doubles it when it is full. `keys` and `values` are views of what it
    holds, as everybody expects of them; to crop is to take a shorter view.
    """

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: object,  # noqa: ARG002 - of the interface
        **kwargs: object,  # noqa: ARG002
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values of new tokens, each of shape (batch, heads, tokens, width); return those of all."""
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
    """Return a tensor that begins with the old tokens and has room for twice what there is with the new ones."""
    held = 0 if old is None else old.shape[-2]
    room = new.new_empty(*new.shape[:-2], max(_ROOM_MIN, 2 * (held + new.shape[-2])), new.shape[-1])
    if old is not None:
        room[..., :held, :] = old
    return room

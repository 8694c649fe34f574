"""The number of threads that the pocket pair computes with."""

from __future__ import annotations


def use_one_thread() -> None:
    """Let PyTorch compute with one thread in this process.

    A token of the pocket pair has so little work that more threads gain nothing. If other programs use the cores, every
    step would wait until the last thread gets its turn: the demo then takes several times as long.
    """
    import torch  # noqa: PLC0415 - slow import

    torch.set_num_threads(1)

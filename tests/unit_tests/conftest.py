"""Unit tests are quick."""

from __future__ import annotations

import torch

# Tiny models have nothing to share out among threads, and threads that wait for each other are slow on a busy machine.
torch.set_num_threads(1)

"""Unit tests are quick, and strangers to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

from langchain_spec_thinking.backends.openai.capabilities import capabilities
from langchain_spec_thinking.drivers import _REPORTED

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long an example takes says more of the machine than of the code. A failure prints what repeats it.
settings.register_profile("any machine", settings(deadline=None, print_blob=True))
settings.load_profile("any machine")

# Tiny models have nothing to share out among threads, and threads that wait for each other are slow on a busy machine.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_found_out_before() -> Iterator[None]:
    """Forget what the process keeps: what it knows of servers, and which failures it has logged."""
    capabilities.cache_clear()
    _REPORTED.clear()
    yield
    capabilities.cache_clear()
    _REPORTED.clear()

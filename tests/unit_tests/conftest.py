"""Settings and fixtures that keep unit tests fast and independent of each other."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

from langchain_spec_thinking.backends.local.model import _LOADED
from langchain_spec_thinking.backends.openai.address import ADDRESS_VARIABLES
from langchain_spec_thinking.backends.openai.capabilities import capabilities, thought_delivery
from langchain_spec_thinking.escalation_advice import _LOGGED
from langchain_spec_thinking.hidden_reasoning import _FOUND
from langchain_spec_thinking.writers import _LOGGED_TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

# Examples have no deadline, because their time depends more on the machine than on the code. A failure prints the code
# that repeats it.
settings.register_profile("any machine", settings(deadline=None, print_blob=True))
settings.load_profile("any machine")

# Tiny models have too little work for several threads, and threads that wait for each other are slow on a busy machine.
torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Exclude all that was imported from garbage collection.

    Some tests collect hundreds of times, and each collection took a tenth of a second with all imported libraries.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let the end of the process collect everything. Otherwise extension modules report leaks."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _clear_process_state() -> Iterator[None]:
    """Clear the state of the process: what is known about servers and models, their caches, and what was logged."""
    _clear()
    yield
    _clear()


@pytest.fixture(autouse=True)
def _no_address_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the address of a gateway of the developer. Backends without an address would use it."""
    for name in ADDRESS_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def _clear() -> None:
    capabilities.cache_clear()
    thought_delivery.cache_clear()
    _LOADED.clear()  # the next backend of a model does not get what an earlier one has cached
    _FOUND.clear()
    _LOGGED.clear()
    _LOGGED_TARGETS.clear()

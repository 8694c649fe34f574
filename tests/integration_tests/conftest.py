"""Real models and real servers on loopback.

The models lie in the folder that `SPEC_THINKING_MODELS` names. Where they are not there, tests that need them are
skipped, unless `SPEC_THINKING_REQUIRE_MODELS` is set: then they fail.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from langchain_spec_thinking import HuggingFaceBackend
from tests.integration_tests.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

# Tests of servers and tests in this process run side by side; each has a core to itself.
torch.set_num_threads(1)

MODELS = Path(os.environ.get("SPEC_THINKING_MODELS", "build/models")).absolute()
SMALL, LARGE = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"


def model_path(name: str) -> Path:
    path = MODELS / name
    if not path.exists():
        told = f"{name} is not in {MODELS}; point SPEC_THINKING_MODELS at a folder with the test models"
        if os.environ.get("SPEC_THINKING_REQUIRE_MODELS"):
            pytest.fail(told)
        pytest.skip(told)  # a developer without the models; CI sets SPEC_THINKING_REQUIRE_MODELS
    return path


@pytest.fixture(scope="session")
def small() -> HuggingFaceBackend:
    return HuggingFaceBackend(model_path(f"{SMALL}-hf"))


@pytest.fixture(scope="session")
def large() -> HuggingFaceBackend:
    return HuggingFaceBackend(model_path(f"{LARGE}-hf"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(model_path, tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()

"""Real models and real servers on loopback.

The models are in the folder that `SPEC_THINKING_MODELS` names. If a model is missing, the tests that need it are
skipped. If `SPEC_THINKING_REQUIRE_MODELS` is set, these tests fail instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from langchain_spec_thinking import HuggingFaceBackend
from tests.integration_tests.servers import DTYPE, Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

# The tests with servers and the tests with local models run at the same time, and each part has one core.
torch.set_num_threads(1)

MODELS = Path(os.environ.get("SPEC_THINKING_MODELS", "build/models")).absolute()
SMALL, LARGE = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"


def model_path(name: str) -> Path:
    path = MODELS / name
    if not path.exists():
        message = f"{name} is not in {MODELS}; set SPEC_THINKING_MODELS to a folder with the test models"
        if os.environ.get("SPEC_THINKING_REQUIRE_MODELS"):
            pytest.fail(message)
        pytest.skip(message)  # for developers without the models; CI sets SPEC_THINKING_REQUIRE_MODELS
    return path


@pytest.fixture(scope="session")
def small() -> HuggingFaceBackend:
    return HuggingFaceBackend(model_path(f"{SMALL}-hf"), dtype=DTYPE)


@pytest.fixture(scope="session")
def large() -> HuggingFaceBackend:
    return HuggingFaceBackend(model_path(f"{LARGE}-hf"), dtype=DTYPE)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = Servers(model_path, tmp_path_factory.mktemp("servers"))
    yield started
    started.stop()

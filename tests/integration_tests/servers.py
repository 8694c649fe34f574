"""Real servers on loopback: how each engine is started, and what it is known to do."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest
from langchain_core.exceptions import ModelInvalidRequestError, ModelNotFoundError

from benchmarks.serving import serving
from langchain_spec_thinking import OpenAIBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_spec_thinking.backends.replies.continuation import StrategyName

KEY = "sk-very-secret"
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A server program, in an environment of its own.

    Attributes:
        name: What its environment and its dependency group are called after.
        command: What is started, in words; `{weights}`, `{home}` (an empty folder) and `{key}` are filled in.
        weights: Which file or folder of a model it loads.
        environment: Variables. One thread for each server: on two cores, threads that wait for each other by spinning
            slow everything down.
        model: What a model is called in requests.
        exact: Ways to continue a turn that read exactly the half-written text, each token of it once.
        auto: What is found out to work where no tokenizer is given.
        tells_usage: A stream ends with what it used.
        tells_cached: That has the cached tokens in it.
        repeats: Greedy text is the same each time. llama.cpp rounds differently where part of a prompt is in its cache,
            and how much is there depends on when it saw that a stream was closed.
        samples: A temperature makes it sample; `transformers serve` wants the model's own configuration to say so.
        keeps_stop: The stop string stands in the text.
        unknown_model: The error where a request names another model; None where any name is taken.
        checks_key: A wrong key is refused.
    """

    name: str
    command: str
    weights: str = "{model}-hf"
    environment: dict[str, str] = field(default_factory=dict)
    model: str = "{model}"
    exact: tuple[StrategyName, ...] = ("raw",)
    auto: StrategyName = "chat_instruct"
    tells_usage: bool = True
    tells_cached: bool = False
    repeats: bool = True
    samples: bool = True
    keeps_stop: bool = False
    unknown_model: type[Exception] | None = None
    checks_key: bool = True


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="llama-cpp",
            command="python -m llama_cpp.server --model {weights} --model_alias {model} --n_ctx 4096 --n_threads 1"
            " --n_threads_batch 1 --api_key {key}",
            weights="{model}/model.gguf",
            tells_usage=False,
            repeats=False,
        ),
        Engine(
            name="transformers-serve",
            command="transformers serve {weights} --device cpu --dtype bfloat16",
            # It lists models from a cache folder, which must exist.
            environment={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "{home}"},
            model="{weights}",
            samples=False,
            keeps_stop=True,
            unknown_model=ModelInvalidRequestError,
            checks_key=False,
        ),
        Engine(
            name="vllm",
            command="vllm serve {weights} --served-model-name {model} --dtype bfloat16 --enforce-eager"
            " --max-model-len 4096 --enable-prompt-tokens-details --api-key {key}",
            environment={
                "OMP_NUM_THREADS": "1",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # it would bind each server to the same core
                "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
                "HF_HUB_OFFLINE": "1",
                "DO_NOT_TRACK": "1",
            },
            exact=("raw", "chat_flag"),
            auto="chat_flag",
            tells_cached=True,
            unknown_model=ModelNotFoundError,
        ),
    )
}


class Server(NamedTuple):
    """A running server: its engine, its address, the model's name there, a folder with the model's tokenizer."""

    engine: Engine
    url: str
    model: str
    tokenizer: str

    def backend(self, **settings: Any) -> OpenAIBackend:
        """A backend for it, by default one that renders the prompt here."""
        settings = {"tokenizer": self.tokenizer, "api_key": KEY, **settings}
        return OpenAIBackend(self.model, base_url=self.url, **settings)

    def backend_for(self, continuation: StrategyName) -> OpenAIBackend:
        """A backend that continues turns in one way."""
        return self.backend(continuation=continuation, tokenizer=self.tokenizer if continuation == "raw" else None)

    def metric(self, name: str) -> float:
        """Read a counter or gauge of vLLM."""
        lines = httpx2.get(self.url.replace("/v1", "/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vllm:{name}{{"))


class Servers:
    """Starts servers when they are first asked for, one for each engine and model, and stops them all at the end.

    All that the tests ask for take 10 GB of memory together; one that has nothing to do takes no processor time.

    Args:
        model_path: Finds a file of a model.
        folder: For logs.
    """

    def __init__(self, model_path: Callable[[str], Path], folder: Path) -> None:
        self._model_path = model_path
        self._folder = folder
        self._running: dict[tuple[str, str], Server] = {}
        self._stack = ExitStack()

    def get(self, engine: str, model: str) -> Server:
        """Return a running server."""
        if (engine, model) not in self._running:
            self._running[engine, model] = self._stack.enter_context(self._serving(ENGINES[engine], model))
        return self._running[engine, model]

    def stop(self) -> None:
        """Stop all of them."""
        self._stack.close()

    @contextmanager
    def _serving(self, engine: Engine, model: str) -> Iterator[Server]:
        weights = self._model_path(engine.weights.format(model=model))
        tokenizer = self._model_path(f"{model}-hf")
        program, *options = engine.command.split()
        executable = _REPOSITORY / f".venv-{engine.name}" / "bin" / program
        if not executable.exists():
            told = f"{executable} is not there: `make servers` installs it"
            (pytest.fail if os.environ.get("SPEC_THINKING_REQUIRE_MODELS") else pytest.skip)(told)
        home = self._folder / f"{engine.name}-{model}"
        home.mkdir()
        filled = {"weights": str(weights), "model": model, "home": str(home), "key": KEY}
        command = [str(executable), *(option.format(**filled) for option in options)]
        variables = {name: value.format(**filled) for name, value in engine.environment.items()}
        with serving(command, variables, home / "log", key=KEY) as url:
            yield Server(engine, url, engine.model.format(**filled), str(tokenizer))

"""Real servers on loopback: how to start each engine, and its known features."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest
from langchain_core.exceptions import ModelInvalidRequestError, ModelNotFoundError

from benchmarks.processor import FAST_BFLOAT16
from benchmarks.serving import serving
from langchain_spec_thinking import OpenAIBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_spec_thinking.backends.replies.continuation import StrategyName

KEY = "sk-very-secret"
DTYPE = "bfloat16" if FAST_BFLOAT16 else "float32"
"""Data type of the weights."""
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A server program with its own environment.

    Attributes:
        name: Name of the engine. The names of its environment and of its dependency group contain this name.
        command: The command that starts the server, as words. `{weights}`, `{model}`, `{home}` (an empty folder),
            `{dtype}` and `{key}` are replaced.
        weights: File or folder of a model that the server loads.
        environment: Environment variables. Each server gets one thread, because threads that wait by spinning slow
            everything down on two cores.
        model: Name of a model in requests.
        exact: Strategies that continue a turn exactly. The server reads the half-written text as it is, each token
            once.
        auto: The strategy that `auto` finds if no tokenizer is given.
        reports_usage: Whether a stream ends with the usage.
        reports_cached_tokens: Whether the usage contains the number of cached tokens.
        greedy_is_repeatable: Whether greedy text is the same each time. llama.cpp rounds differently if part of a
            prompt is in its cache. How much of the prompt is there depends on when the server notices that a stream
            was closed.
        samples: Whether a temperature is enough for sampling. `transformers serve` samples only if the model's own
            configuration says so.
        keeps_stop_string: Whether the text contains the stop string.
        unknown_model: The error if a request names another model. None if the server accepts any name.
        checks_key: Whether the server refuses a wrong key.
    """

    name: str
    command: str
    weights: str = "{model}-hf"
    environment: dict[str, str] = field(default_factory=dict)
    model: str = "{model}"
    exact: tuple[StrategyName, ...] = ("raw",)
    auto: StrategyName = "chat_instruct"
    reports_usage: bool = True
    reports_cached_tokens: bool = False
    greedy_is_repeatable: bool = True
    samples: bool = True
    keeps_stop_string: bool = False
    unknown_model: type[Exception] | None = None
    checks_key: bool = True


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            name="llama-server",
            # The slots share the context.
            command="llama-server --model {weights} --alias {model} --ctx-size 8192 --parallel 2 --threads 1"
            " --threads-batch 1 --api-key {key} --no-webui",
            weights="{model}/model.gguf",
            exact=("raw", "chat_flag"),
            auto="chat_flag",
            reports_cached_tokens=True,
            greedy_is_repeatable=False,
        ),
        Engine(
            name="transformers-serve",
            command="transformers serve {weights} --device cpu --dtype {dtype}",
            # The server lists the models in a cache folder, which must exist.
            environment={"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "{home}"},
            model="{weights}",
            samples=False,
            keeps_stop_string=True,
            unknown_model=ModelInvalidRequestError,
            checks_key=False,
        ),
        Engine(
            name="vllm",
            command="vllm serve {weights} --served-model-name {model} --dtype {dtype} --enforce-eager"
            " --max-model-len 4096 --enable-prompt-tokens-details --api-key {key}",
            environment={
                "OMP_NUM_THREADS": "1",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # without this, vLLM binds all servers to the same core
                "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
                "HF_HUB_OFFLINE": "1",
                "DO_NOT_TRACK": "1",
            },
            exact=("raw", "chat_flag"),
            auto="chat_flag",
            reports_cached_tokens=True,
            unknown_model=ModelNotFoundError,
        ),
    )
}


class Server(NamedTuple):
    """A running server: its engine, its address, its name for the model, and the folder of the model's tokenizer."""

    engine: Engine
    url: str
    model: str
    tokenizer: str

    def backend(self, **settings: Any) -> OpenAIBackend:
        """Return a backend for the server. By default, the backend renders the prompt itself."""
        settings = {"tokenizer": self.tokenizer, "api_key": KEY, **settings}
        return OpenAIBackend(self.model, base_url=self.url, **settings)

    def backend_for(self, continuation: StrategyName) -> OpenAIBackend:
        """Return a backend that continues turns with one strategy."""
        return self.backend(continuation=continuation, tokenizer=self.tokenizer if continuation == "raw" else None)

    def metric(self, name: str) -> float:
        """Return the value of a counter or gauge of vLLM."""
        lines = httpx2.get(self.url.replace("/v1", "/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vllm:{name}{{"))


class Servers:
    """Starts a server for each engine and model when a test first needs it, and stops all servers at the end.

    The servers of all tests together take 10 GB of memory. An idle server takes no processor time.

    Args:
        model_path: Function that returns the path of a model's file or folder.
        folder: Folder for the logs.
    """

    def __init__(self, model_path: Callable[[str], Path], folder: Path) -> None:
        self._model_path = model_path
        self._folder = folder
        self._running: dict[tuple[str, str], Server] = {}
        self._stack = ExitStack()

    def get(self, engine: str, model: str) -> Server:
        """Return the running server for an engine and a model. Start the server if necessary."""
        if (engine, model) not in self._running:
            self._running[engine, model] = self._stack.enter_context(self.serving(ENGINES[engine], model))
        return self._running[engine, model]

    def stop(self) -> None:
        """Stop all servers."""
        self._stack.close()

    @contextmanager
    def serving(self, engine: Engine, model: str) -> Iterator[Server]:
        """Run a server of its own inside this context."""
        weights = self._model_path(engine.weights.format(model=model))
        tokenizer = self._model_path(f"{model}-hf")
        program, *options = engine.command.split()
        executable = _REPOSITORY / f".venv-{engine.name}" / "bin" / program
        if not executable.exists():
            message = f"{executable} does not exist; run `make servers`"
            (pytest.fail if os.environ.get("SPEC_THINKING_REQUIRE_MODELS") else pytest.skip)(message)
        home = Path(mkdtemp(prefix=f"{engine.name}-{model}-", dir=self._folder))
        filled = {"weights": str(weights), "model": model, "home": str(home), "dtype": DTYPE, "key": KEY}
        command = [str(executable), *(option.format(**filled) for option in options)]
        variables = {name: value.format(**filled) for name, value in engine.environment.items()}
        with serving(command, variables, home / "log", key=KEY) as url:
            yield Server(engine, url, engine.model.format(**filled), str(tokenizer))

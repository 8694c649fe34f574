"""Time and memory from the start of Python to the first token, each in fresh processes.

Each round runs every program once, so that a busy minute affects all of them. The first round is not counted: it fills
the cache of the disk, and a folder with the compiled modules. Without that folder, the result would depend on whether
the installer has compiled the packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.speed.figures import Figure
from benchmarks.speed.loopback import LARGE, SMALL, StreamSettings, serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tqdm import tqdm  # type: ignore[import-untyped]

    Costs = Mapping[str, Mapping[str, float]]

_SERVER = "base_url=url, api_key='none'"
_BACKENDS = ", ".join(
    f"{role}=OpenAIBackend({name!r}, {_SERVER})" for role, name in (("speculative", SMALL), ("target", LARGE))
)
PROGRAMS = {
    "langchain_core": ("from langchain_core.language_models import BaseChatModel", "None"),
    "langchain_openai": ("from langchain_openai import ChatOpenAI", f"ChatOpenAI(model={SMALL!r}, {_SERVER})"),
    "two_servers": (
        "from langchain_spec_thinking import ChatSpeculativeThinking, OpenAIBackend",
        f"ChatSpeculativeThinking({_BACKENDS})",
    ),
    "pocket": ("from langchain_spec_thinking import ChatSpeculativeThinking", "ChatSpeculativeThinking.pocket()"),
}
"""The import and the model of each program. The first one only imports what every integration of LangChain imports."""
ROUNDS = 5
CODE = """
import json, sys, time
from benchmarks.speed.memory import peak_memory
began, url = float(sys.argv[1]), sys.argv[2]

def cost():
    seconds, processor_seconds = time.time() - began, time.process_time()
    modules, megabytes = len(sys.modules), peak_memory() / 1e6
    return dict(seconds=seconds, processor_seconds=processor_seconds, megabytes=megabytes, modules=modules)

{statement}
costs = {{"import": cost()}}
model = {model}
if model:
    next(chunk for chunk in model.stream("What is 2 + 3?") if chunk.content)
    costs["first_token"] = cost()
print(json.dumps(costs))
"""


def measure(bar: tqdm[None], *, quick: bool) -> dict[str, Figure]:
    """Measure all programs. The server of the remote models runs in a separate process, and is not measured."""
    rounds = []
    with serving() as server, TemporaryDirectory() as compiled:
        url = StreamSettings(tokens=50).url(server)
        for _ in range(1 if quick else ROUNDS + 1):
            rounds.append({name: run(name, url, compiled) for name in PROGRAMS})
            bar.update()
    return {"startup_vs_langchain_openai": versus(rounds if quick else rounds[1:])}


def run(name: str, url: str, compiled: str) -> Costs:
    """Run a program in a fresh process.

    Args:
        name: Name of the program.
        url: URL of the server, for remote models.
        compiled: Folder for the compiled modules.

    Returns:
        What the program has cost after its `import` and at its `first_token`: seconds since the start of Python,
        seconds of processor time, the peak of the memory in megabytes, and the number of imported modules.
    """
    statement, model = PROGRAMS[name]
    code = CODE.format(statement=statement, model=model)
    command = [sys.executable, "-c", code, str(time.time()), url]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)  # noqa: S603
    costs: Costs = json.loads(done.stdout)
    return costs


def versus(rounds: Sequence[Mapping[str, Costs]]) -> Figure:
    """Return the figure: time to the first token of two remote models / of the client of `langchain-openai`.

    Args:
        rounds: The costs in each round, by program.
    """

    def seconds(name: str) -> list[float]:
        return [costs[name]["first_token"]["seconds"] for costs in rounds]

    ratios = [ours / theirs for ours, theirs in zip(seconds("two_servers"), seconds("langchain_openai"), strict=True)]
    programs = {name: _medians([costs[name] for costs in rounds]) for name in rounds[0]}
    return Figure.of(ratios, programs=programs)


def _medians(rounds: Sequence[Costs]) -> Costs:
    return {
        place: {key: round(median(costs[place][key] for costs in rounds), 3) for key in rounds[0][place]}
        for place in rounds[0]
    }

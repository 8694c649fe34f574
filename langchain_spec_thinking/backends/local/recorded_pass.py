"""Passes over one token that are recorded once and replayed without the Python code of the model (`compile=True`).

Most passes of a turn read one token. Python starts hundreds of small computations in such a pass. On an accelerator,
this often takes longer than the computations. A recorded pass starts them without the model's Python code: as a CUDA
graph on an NVIDIA accelerator, and compiled by `torch.compile` on a processor, which also joins the computations.

A recorded pass has fixed shapes. So it attends to the whole capacity of the layers (`GrowingLayer`), with a mask that
hides the places after the token. All other passes (prompts, hand-overs, drafts, passes for several turns) run as usual,
on the same layers. A CUDA graph belongs to the memory of its layers, so each turn records its own, and records it again
when its layers grow. A recording takes as long as two or three passes.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import torch

from langchain_spec_thinking.backends.local.cache_check import same_scores, two_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_spec_thinking.backends.local.cache_argument import CacheArgument

    Buffers = tuple[tuple[torch.Tensor, torch.Tensor], ...]
    Pass = Callable[[torch.Tensor, torch.Tensor, Buffers], torch.Tensor]
    Replay = Callable[[int, int], torch.Tensor]

_LOGGER = logging.getLogger(__name__)


class Recorder(Protocol):
    """Records a pass."""

    def __call__(self, run: Pass, token: int, place: int, buffers: Buffers) -> Replay:
        """Record a pass over a token at a place.

        Args:
            run: Runs the pass on token ids of shape (1, 1), a position of shape (1,) and the memory of the layers. It
                may be called several times.
            token: Id of the token.
            place: Number of tokens before it.
            buffers: Memory of the layers.

        Returns:
            A function that runs the pass for another token and place, and returns logits of shape (1, vocabulary). The
            result stays valid after the next call.
        """


class FixedLayer:
    """A layer of a recorded pass: memory whose size does not change.

    Args:
        keys: Memory of the keys, of shape (1, heads, capacity, width).
        values: Memory of the values.
        position: Place of the new token, of shape (1,).
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, position: torch.Tensor) -> None:
        self._keys = keys
        self._values = values
        self._position = position

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the keys and values of the new token. Return all memory of the layer."""
        self._keys.index_copy_(2, self._position, key_states)
        self._values.index_copy_(2, self._position, value_states)
        return self._keys, self._values


class RecordedPasses:
    """The recorded passes of one model. All calls must come from the thread that runs a pass.

    Args:
        argument: The model and its cache argument. All layers must be of the type `GrowingLayer`.
        run: Runs a pass, as for `Recorder`.
        recorder: Records the passes.
    """

    def __init__(self, argument: CacheArgument, run: Pass, recorder: Recorder) -> None:
        self._argument = argument
        self._run = run
        self._recorder = recorder
        self._works = False  # whether a recorded pass gave the right logits
        # The last recording for each cache, with the layer memory that it belongs to. The recording is None if it does
        # not fit into the memory of the accelerator.
        self._recordings: WeakKeyDictionary[Any, tuple[torch.Tensor, Replay | None]] = WeakKeyDictionary()

    def read(self, token: int, cache: Any, past: int) -> torch.Tensor | None:  # noqa: ANN401 - the type depends on the model
        """Run a pass over one token. Return logits of shape (1, vocabulary), or None if the pass must run as usual.

        Args:
            token: Id of the token.
            cache: Cache of the earlier tokens. The keys and values of the token are added.
            past: Number of tokens in the cache.
        """
        model = self._argument.model
        if model._forward_pre_hooks or model._forward_hooks:  # noqa: SLF001 - a replay would not run them
            return None
        memory = cache.layers[0].buffers[0] if past else None
        if memory is None or past >= memory.shape[-2]:
            return None  # a usual pass makes room
        recorded_for, replay = self._recordings.get(cache, (None, None))
        if recorded_for is not memory:
            replay = self._record(token, cache, past)
            self._recordings[cache] = memory, replay
        if replay is None:
            return None
        scores = replay(token, past)
        for layer in cache.layers:
            layer.tokens = past + 1
        return scores

    def _record(self, token: int, cache: Any, past: int) -> Replay | None:  # noqa: ANN401
        if any(part._forward_pre_hooks or part._forward_hooks for part in self._argument.model.modules()):  # noqa: SLF001
            return None
        self._recordings.pop(cache, None)  # frees its memory
        try:
            return self._recorder(self._run, token, past, tuple(layer.buffers for layer in cache.layers))
        except RuntimeError as error:  # mostly out of memory, or other work on the accelerator ended the recording
            if not self._works and not isinstance(error, torch.OutOfMemoryError):
                raise  # `problem` says why
            _LOGGER.warning("A pass was not recorded, and runs as usual: %s", error)
            return None

    @torch.inference_mode()
    def problem(self) -> str | None:
        """Record a pass and compare its logits with those of usual passes. Return what is wrong, or None."""
        text, _ = two_texts(self._argument)
        cache = self._argument.empty_cache()
        try:
            expected, _ = self._argument.read(text, cache, 0, rows=3)
            cache.crop(-3)
            scores = [self.read(token, cache, past) for past, token in enumerate(text[-3:], len(text) - 3)]
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as e:  # noqa: BLE001 - a model's code may do what cannot be recorded
            reason = (str(e).strip().splitlines() or [""])[0][:200]
            return f"its pass cannot be recorded ({type(e).__name__}: {reason})"
        recorded = [row for row in scores if row is not None]
        if len(recorded) < len(scores):
            return "it has hooks, which a recorded pass would not run"
        if not same_scores(torch.cat(recorded), expected, self._argument.model.dtype):
            return "a recorded pass gives other logits"
        self._works = True
        return None


class CompiledPass:
    """Compiles a pass with `torch.compile`, for a processor. All turns use the same compiled pass.

    This needs a C++ compiler, and takes about a minute when the model is loaded. torch keeps the result on the disk.

    Args:
        backend: What compiles the pass, as for `torch.compile`.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self._backend = backend
        self._compiled: Pass | None = None

    def __call__(self, run: Pass, token: int, place: int, buffers: Buffers) -> Replay:  # noqa: ARG002 - see `Recorder`
        """Compile a pass. See `Recorder`."""
        if self._compiled is None:
            self._compiled = torch.compile(run, dynamic=True, backend=self._backend)
        compiled, device = self._compiled, buffers[0][0].device

        def replay(token: int, place: int) -> torch.Tensor:
            return compiled(torch.tensor([[token]], device=device), torch.tensor([place], device=device), buffers)

        return replay


_RECORDING = threading.Lock()
"""Only one pass can be recorded at a time in a process."""


class CudaGraphs:
    """Records a pass as a CUDA graph. A recording belongs to the memory of its layers."""

    def __init__(self) -> None:
        self._memory = torch.cuda.graph_pool_handle()  # one replay follows another, so all graphs can share it

    def __call__(self, run: Pass, token: int, place: int, buffers: Buffers) -> Replay:
        """Record a pass. See `Recorder`."""
        device = buffers[0][0].device
        ids, position = torch.tensor([[token]], device=device), torch.tensor([place], device=device)
        with _RECORDING, torch.cuda.device(device):
            graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                run(ids, position, buffers)  # loads kernels, which is not possible while a graph is recorded
            with torch.cuda.graph(graph, pool=self._memory, stream=stream, capture_error_mode="thread_local"):
                result = run(ids, position, buffers)

        def replay(token: int, place: int) -> torch.Tensor:
            ids.fill_(token)
            position.fill_(place)
            graph.replay()
            return result.clone()

        return replay


def recorder_for(device: torch.device) -> Recorder:
    """Return the recorder for a device."""
    return CudaGraphs() if device.type == "cuda" else CompiledPass()

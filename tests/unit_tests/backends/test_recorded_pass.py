"""Recorded passes change no text, and replace the model's own passes over one token. Tested on tiny models."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch

from langchain_spec_thinking import ChatSpeculativeThinking
from langchain_spec_thinking.backends.local.recorded_pass import CompiledPass
from tests.unit_tests.backends import tiny
from tests.unit_tests.backends.test_batched_forward import DIFFERENT, run_all_turns
from tests.unit_tests.backends.test_drafts import sibling
from tests.unit_tests.backends.test_huggingface import POLICIES, PROMPTS, continued, turn

if TYPE_CHECKING:
    from langchain_spec_thinking import HuggingFaceBackend
    from langchain_spec_thinking.backends.local.recorded_pass import Buffers, Pass, Recorder, Replay


class FixedMemory:
    """Records a pass as a CUDA graph does, on a processor: the recording belongs to the memory of the layers.

    Attributes:
        places: The place of each recorded pass.
        replays: Number of replayed passes.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self.replays = 0

    def __call__(self, run: Pass, token: int, place: int, buffers: Buffers) -> Replay:
        self.places.append(place)
        ids, position = torch.tensor([[token]]), torch.tensor([place])
        run(ids, position, buffers)

        def replay(token: int, place: int) -> torch.Tensor:
            self.replays += 1
            ids.fill_(token)
            position.fill_(place)
            return run(ids, position, buffers)

        return replay


def recording(model: Any, recorder: Recorder) -> HuggingFaceBackend:
    """Return the backend of a copy of a model whose passes are recorded."""
    backend = tiny.backend(copy.deepcopy(model))
    assert backend._model._forward.record_passes(recorder) is None  # noqa: SLF001 - users pass `compile=True`
    return backend


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.8, "seed": 3}], ids=["greedy", "sampled"])
def test_text_is_the_same_with_recorded_passes(settings: dict[str, Any]) -> None:
    backend = recording(tiny.llama(), FixedMemory())
    for prompt in PROMPTS[:3]:  # the text outgrows the capacity twice
        assert continued(backend, turn(prompt), max_tokens=150, **settings) == continued(
            tiny.backend(), turn(prompt), max_tokens=150, **settings
        )


@pytest.mark.parametrize("drafts", ["off", "ahead"])
def test_hand_overs_and_rejected_drafts_change_no_text(drafts: Any) -> None:
    model = tiny.llama(1)
    usual: dict[str, Any] = {"speculative": tiny.backend(sibling(model)), "target": tiny.backend(model)}
    recorded: dict[str, Any] = {
        "speculative": recording(sibling(model), FixedMemory()),
        "target": recording(model, FixedMemory()),
    }
    for policy in POLICIES:
        settings: dict[str, Any] = {"policy": policy, "draft_verification": drafts, "temperature": 0, "max_tokens": 90}
        for prompt in PROMPTS[:2]:
            messages = [ChatSpeculativeThinking(**pair, **settings).invoke(prompt) for pair in (usual, recorded)]
            assert messages[0].text == messages[1].text
            assert messages[1].response_metadata["speculative_thinking"]["degraded"] == []


def test_turns_at_the_same_time_share_passes_and_replay_others() -> None:
    backend = recording(tiny.llama(), FixedMemory())
    expected = [continued(tiny.backend(), turn(text), max_tokens=30) for text in DIFFERENT]
    assert run_all_turns(lambda i: continued(backend, turn(DIFFERENT[i]), max_tokens=30)) == expected


def test_passes_over_one_token_are_replayed() -> None:
    recorder = FixedMemory()
    backend = recording(tiny.llama(), recorder)
    recorder.places.clear()
    recorder.replays = 0
    prompt, tokens = len(backend._template.prompt_ids(turn())), 150  # noqa: SLF001
    continued(backend, turn(), max_tokens=tokens)
    # Three passes run as usual: those over the prompt, and over the token for which the layers grow (64, 128).
    assert recorder.replays == tokens - 3
    assert recorder.places == [prompt, 65, 129]


def test_a_pass_is_compiled_once_for_all_turns() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def compile_(graph: torch.fx.GraphModule, _: object) -> Any:
        graphs.append(graph)
        return graph.forward  # as torch's backend "eager", which needs no C++ compiler

    backend = recording(tiny.llama(), CompiledPass(compile_))
    assert len(graphs) == 1  # the whole pass is one graph
    for text in DIFFERENT[:3]:  # the texts outgrow the capacity
        assert continued(backend, turn(text), max_tokens=80) == continued(tiny.backend(), turn(text), max_tokens=80)
    assert len(graphs) == 1


def test_a_model_with_hooks_runs_its_own_passes() -> None:
    recorder = FixedMemory()
    backend = recording(tiny.llama(), recorder)
    continued(backend, turn(), max_tokens=5)
    before, seen = recorder.replays, []
    handle = backend._model._model.register_forward_hook(lambda *_: seen.append(1))  # noqa: SLF001
    continued(backend, turn(PROMPTS[1]), max_tokens=7)
    handle.remove()
    assert (len(seen), recorder.replays) == (7, before)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("the recording was ended")])
def test_if_a_recording_fails_later_passes_run_as_usual(error: Exception) -> None:
    fails = False

    def record(run: Pass, token: int, place: int, buffers: Buffers) -> Replay:
        if fails:
            raise error
        return FixedMemory()(run, token, place, buffers)

    backend = recording(tiny.llama(), record)
    fails = True
    assert continued(backend, turn(), max_tokens=20) == continued(tiny.backend(), turn(), max_tokens=20)


def test_a_model_that_cannot_be_recorded_says_so() -> None:
    model = copy.deepcopy(tiny.sliding())
    pair = ChatSpeculativeThinking(
        speculative=tiny.backend(model, compile=True), target=tiny.backend(model), max_tokens=20, temperature=0
    )
    (limitation,) = pair.invoke("hi").response_metadata["speculative_thinking"]["degraded"]
    assert "not compiled, because only models whose turns can share a pass" in limitation


def test_a_recording_with_other_logits_is_refused() -> None:
    def record(run: Pass, token: int, place: int, buffers: Buffers) -> Replay:
        scores = run(torch.tensor([[token]]), torch.tensor([place]), buffers)
        return lambda _, __: scores

    backend = tiny.backend(copy.deepcopy(tiny.llama()))
    assert backend._model._forward.record_passes(record) == "a recorded pass gives other logits"  # noqa: SLF001


def test_a_recording_that_fails_at_once_is_refused_with_its_reason() -> None:
    def record(run: Pass, token: int, place: int, buffers: Buffers) -> Replay:  # noqa: ARG001 - as `Recorder`
        msg = "no graphs here"
        raise RuntimeError(msg)

    backend = tiny.backend(copy.deepcopy(tiny.llama()))
    problem = backend._model._forward.record_passes(record)  # noqa: SLF001
    assert problem == "its pass cannot be recorded (RuntimeError: no graphs here)"

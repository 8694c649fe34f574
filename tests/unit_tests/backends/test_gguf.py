"""Tests of models in GGUF files, and of the settings for loading a model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import transformers
from packaging.version import Version
from transformers import BitsAndBytesConfig

from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, HuggingFaceBackend
from langchain_spec_thinking.backends.base import End, Piece, Request
from langchain_spec_thinking.backends.local.loading import _GGUF_SINCE, _not_loaded, _require_version
from langchain_spec_thinking.backends.specs import backend_of
from langchain_spec_thinking.errors import BackendError, ContinuationError
from langchain_spec_thinking.turn import Message, Turn
from tests.unit_tests.backends import tiny, tiny_gguf
from tests.unit_tests.backends.tiny_gguf import FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedModel

PROMPTS = ["cat rat", "Wait, the sum.", "So we add.\n\nFive."]
BOUNDARY = DelegationPolicy.non_reasoning(recap_sentence="", opening_tokens=7, takeover_tokens=3, boundary="\n")
OLD = Version(transformers.__version__) < Version(_GGUF_SINCE)
COUNTS = ("requests", "prompt_tokens", "completion_tokens", "discarded_tokens")


@pytest.fixture(scope="module")
def original() -> PreTrainedModel:
    """The original of the tiny file. All tests that load the file use it, and are skipped with an old transformers."""
    if OLD:
        pytest.skip(f"transformers before {_GGUF_SINCE} does not read GGUF files well")
    return tiny_gguf.qwen()


@pytest.fixture(scope="module")
def folder(original: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write(tmp_path_factory.mktemp("model"), original).parent


@pytest.fixture(scope="module")
def loaded(folder: Path) -> HuggingFaceBackend:
    return HuggingFaceBackend(folder, gguf_file=FILE)


def written(backend: HuggingFaceBackend, prompt: str, tokens: int = 40) -> tuple[str, End]:
    turn = Turn((Message("user", prompt),), thinks=backend.thinks)
    *events, end = backend.continue_turn(turn, Request(tokens, temperature=0.0))
    assert isinstance(end, End)
    return "".join(event.text for event in events if isinstance(event, Piece)), end


def test_a_gguf_file_writes_what_its_original_writes(original: PreTrainedModel, loaded: HuggingFaceBackend) -> None:
    reference = HuggingFaceBackend(original, tiny_gguf.TOKENIZER)
    texts = [written(loaded, prompt)[0] for prompt in PROMPTS]
    assert texts == [written(reference, prompt)[0] for prompt in PROMPTS]
    assert len(set(texts)) == len(PROMPTS)
    sentence = "<|user|>Wait, let the cat<|end|>"
    assert loaded.token_ids(sentence) == reference.token_ids(sentence)
    assert (loaded.capabilities.context, loaded.thinks) == (tiny.CONTEXT, True)


def test_a_gguf_model_ends_at_the_end_token_of_the_file(loaded: HuggingFaceBackend) -> None:
    assert loaded._model.eos == {tiny_gguf.TOKENIZER.eos_token_id}  # noqa: SLF001 - no text shows it


def test_takeovers_and_kept_caches_work_as_with_the_original(
    original: PreTrainedModel, loaded: HuggingFaceBackend
) -> None:
    """The texts and the counts of tokens are the same: those in the prompts, those kept, and those dropped."""
    reference = HuggingFaceBackend(original, tiny_gguf.TOKENIZER)
    pair, expected = (
        ChatSpeculativeThinking(speculative=each, target=each, policy=BOUNDARY, temperature=0, max_tokens=60)
        for each in (loaded, reference)
    )
    reports = []
    for prompt in PROMPTS:
        message, other = pair.invoke(prompt), expected.invoke(prompt)
        assert message.content_blocks == other.content_blocks
        report, same = (each.response_metadata["speculative_thinking"] for each in (message, other))
        for author, usage in report["usage"].items():
            assert [usage[name] for name in COUNTS] == [same["usage"][author][name] for name in COUNTS]
        reports.append(report)
    assert sum(report["takeovers"] for report in reports) >= len(PROMPTS)
    assert all(report["usage"]["speculative"]["cached_tokens"] > 0 for report in reports)
    one_by_one = [pair.invoke(prompt).content for prompt in PROMPTS]
    assert [message.content for message in pair.batch([*PROMPTS])] == one_by_one


@pytest.mark.parametrize(("dtype", "expected"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_unpacked_weights_are_32_bits_wide_unless_the_dtype_says_otherwise(
    folder: Path, dtype: str, expected: str
) -> None:
    backend = HuggingFaceBackend(folder, gguf_file=FILE, dtype=dtype)
    assert backend.describe()["dtype"] == expected


def test_the_description_names_the_file_without_its_folder(folder: Path) -> None:
    backend = HuggingFaceBackend(folder, gguf_file=str(folder / FILE))
    assert backend.describe()["gguf_file"] == FILE


def test_another_tokenizer_replaces_that_of_the_file(folder: Path, tmp_path: Path) -> None:
    tiny.byte_tokenizer(tiny.TEMPLATE).save_pretrained(tmp_path)
    assert not HuggingFaceBackend(folder, tmp_path, gguf_file=FILE).thinks


@pytest.mark.parametrize("prefix", ["huggingface:", ""])
def test_a_spec_may_name_the_file(folder: Path, prefix: str) -> None:
    backend = backend_of(f"{prefix}{folder}/{FILE}")
    assert backend.describe()["gguf_file"] == FILE


@pytest.mark.parametrize("prefix", ["huggingface:", ""])
def test_a_spec_may_name_a_file_in_the_working_directory(
    folder: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert backend_of(f"{prefix}{FILE}").describe()["gguf_file"] == FILE


def test_a_missing_package_is_one_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match=r"^`gguf_file` needs gguf\. Install the extra \[gguf\]: ") as caught:
        HuggingFaceBackend(folder, gguf_file=FILE)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_an_old_transformers_is_refused() -> None:
    with pytest.raises(ImportError, match=r"^gguf_file: expected transformers 5\.18 or newer, got 5\.17\.0\."):
        _require_version("5.17.0")
    _require_version(_GGUF_SINCE)


@pytest.mark.skipif(not OLD, reason="this version of transformers reads GGUF files well")
def test_the_installed_transformers_is_too_old() -> None:
    with pytest.raises(ImportError, match=r"^gguf_file: expected transformers"):
        HuggingFaceBackend("folder", gguf_file=FILE)


def cut(share: float) -> Callable[[Path], None]:
    def shorten(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])

    return shorten


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_text("Not found"), id="text"),
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        *(pytest.param(cut(share), id=f"{share:.1%} of the file") for share in (0.001, 0.01, 0.1, 0.5, 0.99)),
    ],
)
def test_a_damaged_file_is_refused(folder: Path, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    file = tmp_path / FILE
    file.write_bytes((folder / FILE).read_bytes())
    damage(file)
    with pytest.raises(BackendError, match=rf"{FILE}: the model cannot be loaded \(.+\)\. Expected a GGUF file"):
        HuggingFaceBackend(tmp_path, gguf_file=FILE)


def test_an_error_without_a_message_is_named_by_its_type() -> None:
    assert "the model cannot be loaded (IndexError). " in _not_loaded("model", "folder", IndexError(), FILE)


def test_a_missing_file_is_refused_with_the_files_that_are_there(folder: Path) -> None:
    with pytest.raises(BackendError, match=rf"^gguf_file: q4\.gguf is not in the folder .*this folder: {FILE}\.$"):
        HuggingFaceBackend(folder, gguf_file="q4.gguf")


def test_a_file_in_place_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(BackendError, match=r"Expected the folder of the GGUF file as the model, .* `gguf_file`\.$"):
        HuggingFaceBackend(folder / FILE)


def test_a_file_without_a_chat_template_is_refused(original: PreTrainedModel, tmp_path: Path) -> None:
    tiny_gguf.write(tmp_path, original, template=None)
    with pytest.raises(ContinuationError, match="chat template"):
        HuggingFaceBackend(tmp_path, gguf_file=FILE)


def test_a_file_that_lacks_a_weight_is_refused(original: PreTrainedModel, tmp_path: Path) -> None:
    """Transformers gives the weight random values. A part of a split model is such a file."""
    weight = "model.layers.1.mlp.up_proj.weight"
    tiny_gguf.write(tmp_path, original, without=weight)
    with pytest.raises(BackendError, match=rf"{FILE}: the file lacks weights of the model \(1\), .* {weight}\."):
        HuggingFaceBackend(tmp_path, gguf_file=FILE)


@pytest.mark.parametrize("settings", [{"gguf_file": FILE}, {"quantization_config": {"load_in_8bit": True}}])
def test_a_loaded_model_takes_no_settings_for_loading(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"^{name}: expected None for a loaded model"):
        HuggingFaceBackend(tiny.llama(), tiny.byte_tokenizer(), **settings)


def test_a_gguf_file_cannot_be_quantized_again(folder: Path) -> None:
    with pytest.raises(BackendError, match=f"{FILE}: the model cannot be loaded") as caught:
        HuggingFaceBackend(folder, gguf_file=FILE, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
    assert str(caught.value.__cause__).strip().splitlines()[0] in str(caught.value)


def test_the_quantization_reaches_transformers(tmp_path: Path) -> None:
    """Transformers then asks for the package of this quantization, which is not installed."""
    tiny.llama().save_pretrained(tmp_path)
    tiny.byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ImportError, match="bitsandbytes"):
        HuggingFaceBackend(tmp_path, quantization_config=BitsAndBytesConfig(load_in_8bit=True))


def test_a_gguf_file_takes_its_own_quantization_config(folder: Path) -> None:
    config = transformers.GgufConfig(dequantize=True)
    backend = HuggingFaceBackend(folder, gguf_file=FILE, quantization_config=config)
    assert backend.describe()["quantization"]["dequantize"]

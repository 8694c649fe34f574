"""Loading models and tokenizers from the Hugging Face Hub, from folders, and from GGUF files."""

from __future__ import annotations

import struct
import threading
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.installing import require_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.utils.quantization_config import QuantizationConfigMixin

_INVALID = (OSError, ValueError, LookupError, struct.error)
"""Errors of transformers if a file is missing or is not a model. The last two come from GGUF files that are cut off."""
_GGUF_SINCE = "5.18"
"""The first version of transformers whose tokenizers know all control tokens of a GGUF file, and `<think>`."""
_LOADING = threading.Lock()
"""Lock for loading models. Two models that are loaded at the same time can get random weights.

Transformers changes global settings of torch while it loads a model."""


def load_model(
    path: str,
    *,
    dtype: Any,  # noqa: ANN401 - a torch.dtype or its name
    device: str,
    trust_remote_code: bool,
    gguf_file: str | None = None,
    quantization_config: QuantizationConfigMixin | dict[str, Any] | None = None,
) -> PreTrainedModel:
    """Load a model from the Hugging Face Hub or a folder.

    Downloads show the Hub's progress bars, unless the user has disabled them. Loading the weights shows no progress
    bar, except for a GGUF file, which may take minutes.

    Raises:
        BackendError: The path does not exist or is not a model, or a GGUF file lacks weights.
        ImportError: A package that the GGUF file or the quantization needs is missing, or transformers is too old.
    """
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - heavy

    if gguf_file is not None:
        _require_gguf(path, gguf_file)
    settings = {"gguf_file": gguf_file, "quantization_config": quantization_config}
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    if gguf_file is not None:
        given["output_loading_info"] = True  # the code of a checkpoint may not know this argument
    try:
        with _LOADING, _no_weights_bar():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path, dtype=dtype, device_map=device, trust_remote_code=trust_remote_code, **given
            )
    except _INVALID as e:
        raise BackendError(_not_loaded("model", path, e, gguf_file)) from e
    model: PreTrainedModel
    model, info = loaded if gguf_file is not None else (loaded, {})
    if missing := sorted(info.get("missing_keys", ())):
        msg = (
            f"{path}, {gguf_file}: the file lacks weights of the model ({len(missing)}), for example {missing[0]}. "
            "Transformers would give them random values. If the model is split into several files, merge them first "
            "(`llama-gguf-split --merge`)."
        )
        raise BackendError(msg)
    return model


def _require_version(installed: str) -> None:
    from packaging.version import Version  # noqa: PLC0415 - only GGUF files need it

    if Version(installed) < Version(_GGUF_SINCE):
        msg = (
            f"gguf_file: expected transformers {_GGUF_SINCE} or newer, got {installed}. Older versions read the "
            "control tokens of most GGUF files as text. Run `pip install --upgrade transformers`."
        )
        raise ImportError(msg)


def _require_gguf(path: str, gguf_file: str) -> None:
    """Check that GGUF files can be read, and that a folder contains this one.

    Raises:
        BackendError: The path is a folder without this file. The message lists its GGUF files.
        ImportError: The extra `[gguf]` is not installed, or transformers is too old.
    """
    require_modules("`gguf_file`", "gguf", "gguf")
    _require_version(version("transformers"))
    folder = Path(path)
    if folder.is_dir() and not (folder / gguf_file).is_file():
        found = ", ".join(sorted(file.name for file in folder.glob("*.gguf"))) or "none"
        msg = f"gguf_file: {gguf_file} is not in the folder {path}. GGUF files in this folder: {found}."
        raise BackendError(msg)


@contextmanager
def _no_weights_bar() -> Iterator[None]:
    """Disable the progress bar of transformers, which would overwrite other output. The setting affects all threads."""
    from transformers.utils import logging  # noqa: PLC0415 - heavy

    # `disable_progress_bar` also disables the Hub's bars, and `enable_progress_bar` enables bars that the user
    # disabled.
    before, logging._tqdm_active = logging._tqdm_active, False  # noqa: SLF001
    try:
        yield
    finally:
        logging._tqdm_active = before  # noqa: SLF001


def load_tokenizer(
    path: str, *, trust_remote_code: bool = False, gguf_file: str | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer from the Hugging Face Hub or a folder, or from a GGUF file in it.

    Raises:
        BackendError: The path does not exist or is not a tokenizer, or the tokenizer cannot decode token by token.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - heavy

    given = {} if gguf_file is None else {"gguf_file": gguf_file}
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, trust_remote_code=trust_remote_code, **given
        )
    except _INVALID as e:
        raise BackendError(_not_loaded("tokenizer", path, e, gguf_file)) from e
    if not tokenizer.is_fast:
        msg = f"{path}: expected a tokenizer of the `tokenizers` library, got {type(tokenizer).__name__}"
        raise BackendError(msg)
    return tokenizer


def _not_loaded(what: str, path: str, error: Exception, gguf_file: str | None) -> str:
    if gguf_file is not None:
        expected = "a GGUF file of a language model in a folder or a repository of the Hugging Face Hub"
    elif path.endswith(".gguf"):
        expected = "the folder of the GGUF file as the model, and the name of the file as `gguf_file`"
    else:
        expected = "the id of a model on the Hugging Face Hub or a folder with a checkpoint"
    place = path if gguf_file is None else f"{path}, {gguf_file}"
    reason = str(error).strip() or type(error).__name__
    return f"{place}: the {what} cannot be loaded ({reason.splitlines()[0]}). Expected {expected}."

"""A tiny GGUF file with random weights and a real tokenizer, written without downloads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.constants import MODEL_ARCH
from gguf.quants import dequantize, quantize
from gguf.tensor_mapping import get_tensor_name_map
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from pathlib import Path

FILE = "tiny-q8_0.gguf"
Q8 = GGMLQuantizationType.Q8_0
TOKENIZER = tiny.byte_tokenizer(tiny.THINKING_TEMPLATE)


def qwen() -> PreTrainedModel:
    """Return a model whose weight matrices have only values that 8 bits can hold."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(TOKENIZER),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=tiny.CONTEXT,
        initializer_range=0.6,  # large enough that greedy text varies
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=3,
    )
    model = tiny.lively(Qwen2ForCausalLM(config))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.from_numpy(dequantize(quantize(weight.numpy(), Q8), Q8)))
    return model


def write(
    folder: Path, model: PreTrainedModel, *, template: str | None = tiny.THINKING_TEMPLATE, without: str = ""
) -> Path:
    """Write a model and its tokenizer to a GGUF file with 8-bit weights, and return the file.

    Args:
        folder: Folder of the file.
        model: The model.
        template: The chat template. None leaves it out.
        without: Name of a weight that is left out.
    """
    config: Any = model.config
    file = folder / FILE
    writer = GGUFWriter(file, "qwen2")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, template)
    names = get_tensor_name_map(MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == without:
            continue
        stem, suffix = name.rsplit(".", 1)
        values = weight.numpy()
        quantized = {"tensor": quantize(values, Q8), "raw_dtype": Q8} if values.ndim > 1 else {"tensor": values}
        writer.add_tensor(f"{names.get_name(stem)}.{suffix}", **quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: GGUFWriter, template: str | None) -> None:
    state = json.loads(TOKENIZER.backend_tokenizer.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if t in tiny.CONTROLS else TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in state["merges"]])
    writer.add_eos_token_id(TOKENIZER.eos_token_id)
    if template is not None:
        writer.add_chat_template(template)

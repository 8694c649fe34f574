"""One tiny model with random weights for every kind of cache in transformers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tests.unit_tests.backends import tiny

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from langchain_spec_thinking import HuggingFaceBackend
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache

_COMMON: dict[str, Any] = {
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "pad_token_id": 0,
    "eos_token_id": 3,
    "expert_layer_period": 2,
    "head_dim": 8,
    "hidden_size": 32,
    "initializer_range": 0.4,
    "intermediate_size": 48,
    "is_decoder": True,
    "max_position_embeddings": 512,
    "moe_intermediate_size": 16,
    "num_attention_heads": 4,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "shared_expert_intermediate_size": 16,
    "sliding_window": 16,
    "tie_word_embeddings": False,
}
_MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_d_state": 8,
    "mamba_chunk_size": 4,
}
_MLA = {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
}
_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}
_WINDOWS = {"layer_types": ["sliding_attention", "full_attention"]}


@dataclass(frozen=True)
class Family:
    """A model family of transformers.

    Attributes:
        name: Prefix of the names of its classes.
        settings: Settings of its configuration, in addition to the common ones.
        config: Name of its configuration class, if that has another prefix.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    config: str = ""

    @property
    def is_there(self) -> bool:
        """Whether this version of transformers has this family."""
        return hasattr(transformers, self._config) and self._model is not None

    @property
    def _config(self) -> str:
        return self.config or f"{self.name}Config"

    @property
    def _model(self) -> Any:
        names = (f"{self.name}ForCausalLM", f"{self.name}LMHeadModel")
        return next((getattr(transformers, name) for name in names if hasattr(transformers, name)), None)

    def model(self) -> PreTrainedModel:
        """Create the model."""
        config: Any = getattr(transformers, self._config)
        known = {*inspect.signature(config.__init__).parameters, *getattr(config, "attribute_map", {})}
        settings = {key: value for key, value in _COMMON.items() if key in known}
        made = config(**{**settings, "vocab_size": len(tiny.byte_tokenizer()), **self.settings})
        made.bos_token_id = None
        torch.manual_seed(0)
        return tiny.lively(self._model(made))


RUN = [
    Family("Afmoe", _WINDOWS),
    Family(
        "BailingHybrid",
        {
            **_MLA,
            "layer_types": ["linear_attention", "full_attention"],
            "n_shared_experts": 1,
            "mlp_layer_types": ["dense", "sparse"],
        },
    ),
    Family("Bamba", {**_MAMBA, "attn_layer_indices": [1]}),
    Family("Bloom"),
    Family("Cohere2", _WINDOWS),
    Family("DeepseekV3", {**_MLA, "first_k_dense_replace": 1}),
    Family("DeepseekV4"),
    Family("Falcon"),
    Family("FalconH1", {**_MAMBA, "mamba_d_ssm": 64}),
    Family("FalconMamba", {"state_size": 8}),
    Family("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    Family("Gemma2", _WINDOWS),
    Family("Gemma3", _WINDOWS, "Gemma3TextConfig"),
    Family(
        "Gemma3n",
        {
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_hidden_layers": 4,
            "num_kv_shared_layers": 2,
            "vocab_size_per_layer_input": 440,
            "hidden_size_per_layer_input": 8,
            "laurel_rank": 4,
            "activation_sparsity_pattern": [0.0] * 4,
        },
        "Gemma3nTextConfig",
    ),
    Family(
        "Gemma4",
        {
            "layer_types": ["sliding_attention", "full_attention"],
            "vocab_size_per_layer_input": 440,
            "hidden_size_per_layer_input": 8,
            "num_experts": None,
        },
        "Gemma4TextConfig",
    ),
    Family("Glm4Moe"),
    Family("GlmMoeDsa", {**_MLA, "head_dim": 8, "index_topk": 8, "index_head_dim": 16, "index_n_heads": 2}),
    Family("GptOss", _WINDOWS),
    Family("GraniteMoeHybrid", {**_MAMBA, "layer_types": ["mamba", "attention"], "shared_intermediate_size": 16}),
    Family("Jamba", {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8, "use_mamba_kernels": False}),
    Family(
        "KimiLinear",
        {
            **_MLA,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_head_dim": 8,
            "linear_num_heads": 4,
            "mlp_layer_types": ["dense", "sparse"],
        },
    ),
    Family("Lfm2", {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16}),
    Family("Llama"),
    Family(
        "Llama4",
        {
            "layer_types": ["chunked_attention", "full_attention"],
            "no_rope_layers": [1, 0],
            "attention_chunk_size": 16,
            "intermediate_size_mlp": 48,
        },
        "Llama4TextConfig",
    ),
    Family("Mamba", {"state_size": 8}),
    Family("Mamba2", {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 4}),
    Family("MiniMax", {"layer_types": ["full_attention", "linear_attention"], "block_size": 4}),
    Family("MiniMaxM2"),
    Family("Mistral"),
    Family("Mixtral"),
    Family(
        "NemotronH", {"mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1, "ssm_state_size": 8, "chunk_size": 4}
    ),
    Family("OPT", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    Family("Olmo2"),
    Family("OlmoHybrid", {**_DELTA}),
    Family("Phi3"),
    Family("Qwen2"),
    Family("Qwen3"),
    Family("Qwen3Moe"),
    Family("Qwen3Next", _DELTA),
    Family("Qwen3_5", _DELTA, "Qwen3_5TextConfig"),
    Family("Roberta"),
    Family("Rwkv", {"attention_hidden_size": 32, "context_length": 512}),
    Family("SmolLM3"),
    Family("Starcoder2"),
    Family(
        "Zamba",
        {
            "layers_block_type": ["mamba", "hybrid"],
            "mamba_d_state": 8,
            "attention_hidden_size": 64,
            "attention_head_dim": 16,
            "num_key_value_heads": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "use_mamba_kernels": False,
        },
    ),
    Family(
        "Zamba2",
        {
            "mamba_d_state": 8,
            "layers_block_type": ["mamba", "hybrid"],
            "n_mamba_heads": 8,
            "mamba_headdim": 8,
            "chunk_size": 4,
            "num_key_value_heads": 4,
        },
    ),
    Family("Zaya", {"num_experts_per_tok": 1, "router_hidden_size": 8}),
    Family(
        "xLSTM",
        {"hidden_size": 64, "qk_dim_factor": 1.0, "num_heads": 4, "chunk_size": 8, "ffn_round_up_to_multiple_of": 8},
    ),
]
REFUSED = [
    Family("Bert", {"is_decoder": False}),
    Family("OpenAIGPT", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    Family("RecurrentGemma", {"block_types": ["recurrent", "attention"], "lru_width": 32, "attention_window_size": 16}),
    Family("XLNet", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}),
    Family("Xmod"),
]

# These are names, because older versions of transformers do not have all of these classes.
_KEYS_AND_VALUES = {"GrowingLayer", "DynamicIndexedLayer", "DynamicSlidingWindowLayer", "DummyLayer"}


def cells(backend: HuggingFaceBackend, cache: TurnCache) -> tuple[str, ...]:
    """Return the cells of the table in `docs/backends.md` for a model that has read some tokens."""
    model = backend._model  # noqa: SLF001
    return (
        _cache_contents(cache.cache),
        "token by token" if model._argument.token_by_token else "in one pass",  # noqa: SLF001
        "cropped" if cache.can_check_drafts else "read again without it",
        "shared" if model._forward._can_batch else "one after the other",  # noqa: SLF001
    )


def _cache_contents(cache: Any) -> str:
    if not isinstance(cache, DynamicCache):  # RWKV and xLSTM
        return "states"
    kinds = {type(layer) for layer in cache.layers}
    contents = []
    if any(issubclass(kind, DynamicLayer) and not kind.is_sliding for kind in kinds):
        contents.append("all tokens")
    if any(getattr(kind, "is_sliding", False) for kind in kinds):
        contents.append("windows")
    if not {kind.__name__ for kind in kinds} <= _KEYS_AND_VALUES:
        contents.append("states")
    return " and ".join(contents)

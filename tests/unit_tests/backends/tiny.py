"""Tiny models with random weights and real tokenizers, created in memory without downloads. Their text is random."""

from __future__ import annotations

import json
import string
from functools import cache
from typing import Any, cast

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from langchain_spec_thinking import HuggingFaceBackend

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
THINKING_TEMPLATE = TEMPLATE.replace(
    "{% if add_generation_prompt %}<|assistant|>", "{% if add_generation_prompt %}<|assistant|><think>\n"
)
CONTROLS = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
SPECIAL = [AddedToken(text, special=True) for text in CONTROLS]
CORPUS = [
    "Wait, let me check the sum again.\n\nYes, the answer is five.\n\nSo we add two and three, and get five.\n",
    "the cat sat on the mat, and then the cat ate the rat.\n\nThat was that.\n\n",
]
FOREIGN = "Nöch ein Satz: 你好 🤖 — done.\n"
VOCABULARY = 440
CONTEXT = 512


@cache
def byte_tokenizer(
    template: str = TEMPLATE, *, foreign: bool = False, vocabulary: int = VOCABULARY
) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer like GPT-2's. It has tokens that end inside a character only with `foreign`.

    With `vocabulary=0`, each token is one character.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if foreign else [*string.ascii_letters, *string.punctuation, *"0123"]
    corpus = [*CORPUS, FOREIGN] if foreign else CORPUS
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(corpus * 3, trainer)
    return _wrapped(tokenizer, template)


@cache
def piece_tokenizer(template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """Return a SentencePiece tokenizer like Llama 2's, with spaces before words and byte fallback."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 256, special_tokens=[AddedToken("<unk>", special=True), *SPECIAL], show_progress=False
    )
    words = [f"▁{word}" for text in CORPUS for word in text.split()]
    tokenizer.train_from_iterator(words, trainer)
    # The trainer does not create byte tokens, so add them to its vocabulary.
    state = json.loads(tokenizer.to_str())
    state["model"]["byte_fallback"] = True
    vocabulary = state["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    return _wrapped(Tokenizer.from_str(json.dumps(state)), template)


@cache
def llama(seed: int = 0, *, vocabulary: int | None = None, context: int = CONTEXT) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary or len(byte_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=context,
        initializer_range=0.6,  # large enough that greedy text varies
        bos_token_id=None,
        eos_token_id=3,
    )
    return lively(LlamaForCausalLM(config))


@cache
def sliding(seed: int = 0) -> PreTrainedModel:
    """Return a model with sliding-window layers."""
    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        vocab_size=len(byte_tokenizer()),
        tie_word_embeddings=False,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=CONTEXT,
        initializer_range=0.6,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=3,
    )
    return lively(Gemma3ForCausalLM(config))


def backend(
    model: PreTrainedModel | None = None, tokenizer: PreTrainedTokenizerFast | None = None, **settings: Any
) -> HuggingFaceBackend:
    return HuggingFaceBackend(model or llama(), tokenizer or byte_tokenizer(), **settings)


def lively(model: Any) -> PreTrainedModel:
    """Make line breaks frequent, because boundaries are at line breaks. Make tokens without text rare."""
    with torch.no_grad():
        weight = model.get_output_embeddings().weight
        weight[byte_tokenizer().encode("\n")] *= 2.5
        weight[: len(CONTROLS)] = 0
    return cast("PreTrainedModel", model.eval())


def _wrapped(tokenizer: Tokenizer, template: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", chat_template=template, extra_special_tokens=CONTROLS
    )


@cache
def special_tokenizer(*marks: str, template: str = THINKING_TEMPLATE) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose token table has `marks` as special tokens without names. Decoding removes them."""
    tokenizer = Tokenizer.from_str(byte_tokenizer().backend_tokenizer.to_str())
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return _wrapped(tokenizer, template)

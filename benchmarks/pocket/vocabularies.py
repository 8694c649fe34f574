"""The two tokenizers of the pair: one token per character for the small model, byte-pair encoding for the large one.

They share nothing but the names of their special tokens, so whatever passes between the two models has to pass as text.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.pocket.problems import problems
from benchmarks.pocket.traces import trace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.pocket.problems import Problem

Kind = Literal["characters", "bpe"]

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
THINK, THOUGHT = "<think>", "</think>"
BPE_SIZE = 1280
CONTEXT = 2048
WORDS = r" ?[A-Za-z]+| ?\d|\n+| ?[^\sA-Za-z\d]+|\s"
"""Digits stay single, so that sums line up; a run of line breaks is one piece, so that a blank line is one token."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.content is string -%}
{%- set content = message.content -%}
{%- else -%}
{%- set content = (message.content or []) | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('') -%}
{%- endif -%}
{%- if message.role == 'assistant' -%}
{{- '<|assistant|>' + content.split('</think>')[-1] | trim + '<|end|>' -}}
{%- elif message.role == 'system' -%}
{{- '<|system|>' + content | trim + '<|end|>' -}}
{%- else -%}
{{- '<|user|>' + content | trim + '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|><think>\\n' -}}
{%- endif -%}
"""


def vocabulary(kind: Kind, seed: int = 0, problems: int = 20_000) -> PreTrainedTokenizerFast:
    """A ready tokenizer with its chat template; the byte-pair one is trained on the text of so many problems."""
    tokenizer = _characters() if kind == "characters" else _byte_pairs(seed, problems)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (PAD, END, *ROLES)])
    # Not special: they must survive `decode(skip_special_tokens=True)`, for whoever parses thinking out of plain text.
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in (THINK, THOUGHT)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a tokenizer for transformers 4 and 5 alike: version 5 writes a class name and keys of its own."""
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    for key in ("backend", "is_local", "local_files_only", "extra_special_tokens"):
        config.pop(key, None)
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _characters() -> Tokenizer:
    """One token per byte, which for this text is one per character; nothing is ever unknown."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def _byte_pairs(seed: int, problems: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=BPE_SIZE,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(_texts(seed, problems), trainer)
    return tokenizer


def _texts(seed: int, count: int) -> Iterator[str]:
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    stream: Iterator[Problem] = problems(seed, "train")
    for _ in range(count):
        problem = next(stream)
        yield problem.text
        yield "".join(piece.text for piece in trace(problem, rng))

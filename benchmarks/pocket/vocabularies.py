"""The two tokenizers of the pair: byte-pair encodings, each learned from text of its own by rules of its own.

The special tokens have the same names in both, but the numbers of the tokens differ. So whatever passes between the two
models has to pass as text. The same text has about as many tokens in both.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks.pocket.problems import problems
from benchmarks.pocket.traces import trace
from langchain_spec_thinking.policy.triggers.score import QUESTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.pocket.problems import Problem

Kind = Literal["small", "large"]

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
THINK, THOUGHT = "<think>", "</think>"
CONTEXT = 2048
TEXTS = 20_000
"""Problems that a vocabulary is learned from."""
FIXED = 100
"""How often the sentences that stand in every conversation of their kind are read beside them."""
ASKING = "Please reason step by step, and put your final answer within \\boxed{}."
SYSTEMS = ("You are a helpful assistant.", "You solve word problems.", "Answer briefly.", ASKING)


@dataclass(frozen=True)
class Spec:
    """How a vocabulary is learned.

    Attributes:
        size: Of the vocabulary, special tokens apart.
        words: What byte pairs are never merged across. Digits stay single, so that sums line up; a run of line breaks
            is one piece, so that a blank line is one token.
        seed: Of the problems it is learned from.
    """

    size: int
    words: str
    seed: int


SPECS: dict[Kind, Spec] = {
    "small": Spec(1024, r" ?[A-Za-z]+| ?\d|\n+| ?[^\sA-Za-z\d]|\s", 101),
    "large": Spec(1280, r" ?[A-Za-z']+| ?\d|\n+| ?[^\sA-Za-z\d]+|\s", 202),
}
"""In the small vocabulary, each punctuation mark is a piece. In the large vocabulary, a run of marks is one piece."""

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


def vocabulary(kind: Kind, texts: int = TEXTS) -> PreTrainedTokenizerFast:
    """Return a tokenizer with its chat template, learned from the text of so many problems."""
    tokenizer = _byte_pairs(SPECS[kind], texts)
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


def _byte_pairs(spec: Spec, texts: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(spec.words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=spec.size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(_texts(spec.seed, texts), trainer)
    return tokenizer


def _texts(seed: int, count: int) -> Iterator[str]:
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    stream: Iterator[Problem] = problems(seed, "train")
    yield from (*SYSTEMS, f"{QUESTION} 0", f"{QUESTION} 9") * FIXED
    for _ in range(count):
        problem = next(stream)
        yield problem.text
        yield "".join(piece.text for piece in trace(problem, rng))

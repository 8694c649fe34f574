"""The measured pairs, with takeovers forced at the same places in every run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import langchain_spec_thinking.pocket
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, HuggingFaceBackend, RandomTrigger
from langchain_spec_thinking.backends.local.backend import load_model, load_tokenizer
from langchain_spec_thinking.backends.local.cache_argument import CacheArgument, cache_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POCKET = Path(langchain_spec_thinking.pocket.__file__).parent
MODELS = Path(os.environ.get("SPEC_THINKING_MODELS", "build/models"))
"""Folder of the real models, each in a subfolder `NAME-hf`."""
PERIOD = 60
"""Tokens of text from one forced takeover to the next."""
TAKEOVER = 20
"""Length of each takeover, in tokens."""
ALWAYS = DelegationPolicy(trigger=RandomTrigger(1.0), takeover_tokens=TAKEOVER)
"""A policy under which the target takes over at every boundary, whatever the draft contains."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A small and a large model, loaded.

    Attributes:
        name: Name in the figures.
        models: The speculative model and the target model.
        tokenizers: Their tokenizers.
    """

    name: str
    models: tuple[PreTrainedModel, PreTrainedModel]
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]

    @classmethod
    def pocket(cls) -> Pair:
        """Return the pair that comes with the package: 0.5 and 4 million parameters, two vocabularies."""
        return cls.loaded("pocket", POCKET / "pocket-small", POCKET / "pocket-large", dtype="float32")

    @classmethod
    def real(cls, name: str, small: str, large: str) -> Pair | None:
        """Return a pair of real models. None if they are not in the folder `MODELS`."""
        folders = [MODELS / f"{model}-hf" for model in (small, large)]
        return cls.loaded(name, *folders, dtype="auto") if all(folder.is_dir() for folder in folders) else None

    @classmethod
    def paced(cls, name: str, small: str, large: str) -> Pair | None:
        """Return a pair of real models whose small model ends a paragraph every `PERIOD` tokens, or None."""
        pair = cls.real(name, small, large)
        if pair is None:
            return None
        paragraph = pair.tokenizers[0].encode("\n\n", add_special_tokens=False)[0]
        for model, tokenizer in zip(pair.models, pair.tokenizers, strict=True):
            ends = _ends(model, tokenizer)
            if model is pair.models[0]:
                _force(model, lambda at: None if at % PERIOD else paragraph, ends)
            else:
                _force(model, lambda _: None, ends)
        return pair

    @classmethod
    def shaped(cls, *, quick: bool) -> Pair:
        """Return a pair with random weights and scripted text: 15M and 60M parameters, 1.5B and 7B on an accelerator.

        Every pass has its real cost. Only the choice of the next token is scripted.
        """
        tokenizer = load_tokenizer(str(POCKET / "pocket-large"))
        if quick:
            name, shapes = "random, tiny", [(32, 2, 64, 4, 4), (64, 2, 128, 4, 4)]
        elif torch.cuda.is_available():
            name, shapes = "random, 1.5B + 7B", [(1536, 28, 8960, 12, 2), (3584, 28, 18944, 28, 4)]
        else:
            name, shapes = "random, 15M + 60M", [(512, 5, 1376, 8, 8), (768, 8, 2048, 12, 12)]
        texts = [str(tokenizer.decode([i])) for i in range(len(tokenizer))]
        words = [i for i, text in enumerate(texts) if text.startswith(" ") and text[1:].isalpha()]
        paragraph = tokenizer.encode("a\n\na", add_special_tokens=False)[1]
        small, large = (_random(*shape, vocabulary=len(tokenizer)) for shape in shapes)
        _force(small, lambda at: words[31 * at % len(words)] if at % PERIOD else paragraph)
        _force(large, lambda at: words[17 * at % len(words)])
        return cls(name, (small, large), (tokenizer, tokenizer))

    @classmethod
    def loaded(cls, name: str, small: Path, large: Path, *, dtype: str) -> Pair:
        """Load a pair from two folders."""
        models = [load_model(str(path), dtype=dtype, device="auto", trust_remote_code=False) for path in (small, large)]
        tokenizers = [load_tokenizer(str(path)) for path in (small, large)]
        return cls(name, (models[0], models[1]), (tokenizers[0], tokenizers[1]))

    def chat(self, **settings: Any) -> ChatSpeculativeThinking:
        """Return the pair as a chat model without cached turns: greedy decoding, with a takeover at every boundary.

        Args:
            **settings: Fields that differ.
        """
        small, large = (HuggingFaceBackend(m, t) for m, t in zip(self.models, self.tokenizers, strict=True))
        return ChatSpeculativeThinking(
            **{
                "speculative": small,
                "target": large,
                "policy": ALWAYS,
                "temperature": 0,
                "draft_verification": "off",  # it can beat the bound; `drafts` measures it
                **settings,
            }
        )


def _random(hidden: int, layers: int, inner: int, heads: int, key_heads: int, *, vocabulary: int) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=None,
    )
    on_gpu = torch.cuda.is_available()
    with torch.device("cuda" if on_gpu else "cpu"):
        torch.manual_seed(0)
        model: Any = LlamaForCausalLM(config)
    loaded: PreTrainedModel = model.to(torch.bfloat16 if on_gpu else torch.float32).eval()
    return loaded


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids that end a turn."""
    eos = model.generation_config.eos_token_id if model.generation_config else None
    return sorted({tokenizer.eos_token_id, *([eos] if isinstance(eos, int) else eos or [])} - {None})


def _force(model: PreTrainedModel, write: Callable[[int], int | None], never: tuple[int, ...] | list[int] = ()) -> None:
    """Make a model write given tokens in its normal passes.

    Args:
        model: The model.
        write: Returns the token id for a position, or None if the model may choose.
        never: Token ids that the model may not choose.
    """
    name = CacheArgument.of(model).name

    def choose(_: torch.nn.Module, __: object, inputs: dict[str, Any], output: Any) -> None:  # noqa: ANN401 - ModelOutput
        scores = output.logits
        if never:
            scores[..., never] = -torch.inf
        if inputs.get(name) is None:  # a pass shared by several turns or without a cache: no forced tokens
            return
        end, rows = cache_length(inputs[name]), scores.shape[1]
        for row in range(rows):  # several rows if a draft is checked
            token = write(end - rows + 1 + row)
            if token is not None:
                logit = scores[0, row, token].clone()
                scores[0, row] = -torch.inf  # the backend refuses a logit of inf
                scores[0, row, token] = logit

    model.register_forward_hook(choose, with_kwargs=True)

"""The measured pairs, with takeovers forced at the same places in every run."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import langchain_spec_thinking.pocket
from benchmarks.processor import FAST_BFLOAT16
from langchain_spec_thinking import ChatSpeculativeThinking, DelegationPolicy, HuggingFaceBackend, RandomTrigger
from langchain_spec_thinking.backends.local.cache_argument import CacheArgument, cache_length
from langchain_spec_thinking.backends.local.loading import load_model, load_tokenizer
from langchain_spec_thinking.errors import ContinuationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
_DTYPE = "auto" if torch.cuda.is_available() or FAST_BFLOAT16 else "float32"
"""Data type of the real models."""
_AGREEMENT = 5
"""In scripted text, the large model would write four of five tokens of the small model itself."""


class Shape(NamedTuple):
    """The shape of a model with random weights, in the words of its configuration.

    Attributes:
        vocabulary: Number of tokens that have a score. 0: as many as the tokenizer has.
        tied: Whether one matrix serves the first and the last layer.
    """

    hidden: int
    layers: int
    inner: int
    heads: int
    key_heads: int
    vocabulary: int = 0
    tied: bool = False


_TINY = "random, tiny", Shape(32, 2, 64, 4, 4), Shape(64, 2, 128, 4, 4)
_CPU = "random, 15M + 60M", Shape(512, 5, 1376, 8, 8), Shape(768, 8, 2048, 12, 12)
_SMALL = Shape(1536, 28, 8960, 12, 2, 151_936, tied=True)
_ACCELERATOR = (
    (75, ("random, 1.5B + 32B", _SMALL, Shape(5120, 64, 27_648, 40, 8, 152_064))),
    (40, ("random, 1.5B + 14B", _SMALL, Shape(5120, 48, 13_824, 40, 8, 152_064))),
    (22, ("random, 1.5B + 7B", _SMALL, Shape(3584, 28, 18_944, 28, 4, 152_064))),
    (0, ("random, 0.5B + 1.5B", Shape(896, 24, 4864, 14, 2, 151_936, tied=True), _SMALL)),
)
"""Pairs in the shapes of Qwen2.5, each with the free memory that it takes in bfloat16, in gigabytes."""


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
    def pocket(cls, *, endless: bool = False) -> Pair:
        """Return the pair that comes with the package: 0.5 and 4 million parameters, two vocabularies.

        Args:
            endless: Whether to keep both models from ending a turn.
        """
        pair = cls.loaded("pocket", POCKET / "pocket-small", POCKET / "pocket-large", dtype="float32")
        if endless:
            pair.never_end()
        return pair

    @classmethod
    def real(cls, name: str, small: str, large: str) -> Pair | None:
        """Return a pair of real models. None if they are not in the folder `MODELS`."""
        folders = [MODELS / f"{model}-hf" for model in (small, large)]
        return cls.loaded(name, *folders, dtype=_DTYPE) if all(folder.is_dir() for folder in folders) else None

    @classmethod
    def paced(cls, name: str, small: str, large: str) -> Pair | None:
        """Return a pair of real models whose small model ends a paragraph every `PERIOD` tokens, or None."""
        pair = cls.real(name, small, large)
        if pair is None:
            return None
        paragraph = pair.tokenizers[0].encode("\n\n", add_special_tokens=False)[0]
        pair.never_end(lambda at: None if at % PERIOD else paragraph)
        return pair

    @classmethod
    def shaped(cls, *, quick: bool) -> Pair:
        """Return a pair with random weights and scripted text: 15M and 60M parameters, or as large as an accelerator.

        Every pass has its real cost. Only the choice of the next token is scripted. There is one such pair in the
        process.
        """
        for shapes in [_TINY] if quick else _that_fit():
            gc.collect()  # frees what is left of the pair before
            torch.cuda.empty_cache()
            with suppress(torch.OutOfMemoryError, ContinuationError):
                return _shaped(shapes)
        msg = "no pair with random weights could be made: end other programs that use the memory of the accelerator"
        raise MemoryError(msg)

    @classmethod
    def loaded(cls, name: str, small: Path, large: Path, *, dtype: str) -> Pair:
        """Load a pair from two folders."""
        models = [load_model(str(path), dtype=dtype, device="auto", trust_remote_code=False) for path in (small, large)]
        tokenizers = [load_tokenizer(str(path)) for path in (small, large)]
        return cls(name, (models[0], models[1]), (tokenizers[0], tokenizers[1]))

    @cached_property
    def backends(self) -> tuple[HuggingFaceBackend, HuggingFaceBackend]:
        """The backends of the speculative model and of the target model."""
        small, large = (HuggingFaceBackend(m, t) for m, t in zip(self.models, self.tokenizers, strict=True))
        return small, large

    def forget_turns(self) -> None:
        """Drop the caches of turns that have ended. Otherwise a turn would not have to read the same prompt again."""
        gc.collect()
        for backend in self.backends:
            backend._model._cache_pool.clear()  # noqa: SLF001 - users have no reason to do this

    def never_end(self, write: Callable[[int], int | None] = lambda _: None) -> None:
        """Keep both models from ending a turn. `write`: what the small model must write, as in `_force`."""
        for model, tokenizer, script in zip(self.models, self.tokenizers, (write, lambda _: None), strict=True):
            _force(model, script, _ends(model, tokenizer))

    def chat(self, **settings: Any) -> ChatSpeculativeThinking:
        """Return the pair as a chat model without cached turns: greedy decoding, with a takeover at every boundary.

        Args:
            **settings: Fields that differ.
        """
        small, large = self.backends
        self.forget_turns()
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


def _that_fit() -> list[tuple[str, Shape, Shape]]:
    """Return the shapes of the pairs for this machine, the largest pair first."""
    if not torch.cuda.is_available():
        return [_CPU]
    free = torch.cuda.mem_get_info()[0]
    return [shapes for gigabytes, shapes in _ACCELERATOR if free >= gigabytes * 10**9]


@cache
def _shaped(shapes: tuple[str, Shape, Shape]) -> Pair:
    """Make a pair with random weights and scripted text, which does not depend on the shapes."""
    name, *both = shapes
    tokenizer = load_tokenizer(str(POCKET / "pocket-large"))
    texts = [str(tokenizer.decode([i])) for i in range(len(tokenizer))]
    words = [i for i, text in enumerate(texts) if text.startswith(" ") and text[1:].isalpha()]
    paragraph = tokenizer.encode("a\n\na", add_special_tokens=False)[1]
    small, large = (_random(shape, shape.vocabulary or len(tokenizer)) for shape in both)

    def word(at: int, step: int = 31) -> int:
        return words[step * at % len(words)]

    pair = Pair(name, (small, large), (tokenizer, tokenizer))
    _ = pair.backends  # they check the model by its logits, and scripted logits say little
    _force(small, lambda at: word(at) if at % PERIOD else paragraph)
    _force(large, lambda at: word(at) if at % _AGREEMENT else word(at, step=17))
    return pair


def _random(shape: Shape, vocabulary: int) -> PreTrainedModel:
    """Make a model with random weights: in bfloat16 on an accelerator, otherwise in float32."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=None,
    )
    on_gpu = torch.cuda.is_available()
    # A model that is made in float32 takes twice the memory that it needs in the end.
    with _default_dtype(torch.bfloat16 if on_gpu else torch.float32), torch.device("cuda" if on_gpu else "cpu"):
        torch.manual_seed(0)
        model: Any = LlamaForCausalLM(config)
    with torch.no_grad():
        # In a trained model, a layer changes little of what it reads. Here, the layers would write nearly all of it, so
        # that in bfloat16 the rounding errors of a deep model would grow from layer to layer.
        model.get_input_embeddings().weight.div_(config.initializer_range)
        for layer in model.model.layers:
            for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
                projection.weight.mul_(0.1 / (2 * shape.layers) ** 0.5)
    made: PreTrainedModel = model.eval()
    return made


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids that end a turn."""
    eos = model.generation_config.eos_token_id if model.generation_config else None
    return sorted({tokenizer.eos_token_id, *([eos] if isinstance(eos, int) else eos or [])} - {None})


def _force(model: PreTrainedModel, write: Callable[[int], int | None], never: Sequence[int] = ()) -> None:
    """Make a model write given tokens in its normal passes.

    Args:
        model: The model.
        write: Returns the token id for a position, or None if the model may choose.
        never: Token ids that the model may not choose.
    """
    name = CacheArgument.of(model).name
    excluded = torch.tensor(never, dtype=torch.long, device=model.device)

    def choose(_: torch.nn.Module, __: object, inputs: dict[str, Any], output: Any) -> None:  # noqa: ANN401 - ModelOutput
        scores = output.logits
        if never:
            scores.index_fill_(-1, excluded, -torch.inf)
        for row, place in enumerate(_places(inputs, name, scores.shape[1])):
            token = write(place + 1)
            if token is not None:
                logit = scores[0, row, token].clone()
                scores[0, row] = -torch.inf  # the backend refuses a logit of inf
                scores[0, row, token] = logit

    model.register_forward_hook(choose, with_kwargs=True)


def _places(inputs: dict[str, Any], cache_name: str, rows: int) -> Sequence[int]:
    """Return the position of the last token that each row of logits has seen. None of a pass without a cache."""
    if inputs.get(cache_name) is not None:
        end = cache_length(inputs[cache_name])
        return range(end - rows, end)  # several rows if a draft is checked
    if "turns" in inputs:  # a pass that several turns share
        places: list[int] = inputs["position_ids"][0, inputs["logits_to_keep"]].tolist()
        return places
    return ()

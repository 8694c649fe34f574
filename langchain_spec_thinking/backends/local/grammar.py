"""Answers that are held to a JSON schema, token by token (xgrammar)."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch
    import xgrammar
    from transformers import PreTrainedTokenizerBase

_LOGGER = logging.getLogger(__name__)
_MISSING = (
    "The answer is not held to its JSON schema: install xgrammar with "
    "`pip install 'langchain-spec-thinking[structured]'`. The model is told the schema and may keep to it."
)
_COMPILERS: WeakKeyDictionary[PreTrainedTokenizerBase, xgrammar.GrammarCompiler] = WeakKeyDictionary()


class Grammar:
    """What may still be written, of one answer.

    Args:
        matcher: Follows the answer.
        vocabulary: Size of the model's vocabulary, in tokens.
    """

    def __init__(self, matcher: xgrammar.GrammarMatcher, vocabulary: int) -> None:
        import xgrammar  # noqa: PLC0415 - an optional extra

        self._matcher = matcher
        self._allowed = xgrammar.allocate_token_bitmask(1, vocabulary)

    def restrict(self, scores: torch.Tensor) -> torch.Tensor:
        """Rule out every token that may not come next.

        Args:
            scores: Scores of all tokens, of shape (vocabulary,).
        """
        import xgrammar  # noqa: PLC0415

        self._matcher.fill_next_token_bitmask(self._allowed)
        restricted = scores.float().unsqueeze(0).clone()
        xgrammar.apply_token_bitmask_inplace(restricted, self._allowed.to(scores.device))
        return restricted[0]

    def accept(self, token: int) -> None:
        """Take in the token that came."""
        self._matcher.accept_token(token)


def grammar(
    schema: dict[str, Any], tokenizer: PreTrainedTokenizerBase, vocabulary: int, eos: Collection[int], begun: str
) -> Grammar | None:
    """Return what holds an answer to a schema; None where xgrammar is not installed.

    Args:
        schema: A JSON schema; an empty one stands for any JSON object.
        tokenizer: The model's tokenizer.
        vocabulary: How many scores the model gives.
        eos: Token ids that end a turn.
        begun: What was written of the answer before.
    """
    try:
        import xgrammar  # noqa: PLC0415
    except ImportError:
        _LOGGER.warning("%s", _MISSING)
        return None
    compiler = _COMPILERS.get(tokenizer)
    if compiler is None:
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary, stop_token_ids=sorted(eos))
        compiler = _COMPILERS.setdefault(tokenizer, xgrammar.GrammarCompiler(info))
    compiled = compiler.compile_json_schema(json.dumps(schema or {"type": "object"}), any_whitespace=False)
    matcher = xgrammar.GrammarMatcher(compiled)
    if begun and not matcher.accept_string(begun):
        return None
    return Grammar(matcher, vocabulary)

"""Grammars that restrict an answer to a JSON schema, token by token (with xgrammar)."""

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
    "The answer is not restricted to its JSON schema: install xgrammar with "
    "`pip install 'langchain-spec-thinking[structured]'`. The prompt contains the schema, but nothing enforces it."
)
_COMPILERS: WeakKeyDictionary[PreTrainedTokenizerBase, xgrammar.GrammarCompiler] = WeakKeyDictionary()


class Grammar:
    """The grammar of one answer, with the current position in it.

    Args:
        matcher: xgrammar's matcher, which follows the answer.
        vocabulary: Size of the model's vocabulary, in tokens.
    """

    def __init__(self, matcher: xgrammar.GrammarMatcher, vocabulary: int) -> None:
        import xgrammar  # noqa: PLC0415 - an optional extra

        self._matcher = matcher
        self._allowed = xgrammar.allocate_token_bitmask(1, vocabulary)

    def restrict(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the logits with every token excluded that the grammar does not allow next.

        Args:
            scores: Logits of all tokens, of shape (vocabulary,).
        """
        import xgrammar  # noqa: PLC0415

        self._matcher.fill_next_token_bitmask(self._allowed)
        restricted = scores.float().unsqueeze(0).clone()
        xgrammar.apply_token_bitmask_inplace(restricted, self._allowed.to(scores.device))
        return restricted[0]

    def accept(self, token: int) -> None:
        """Advance the grammar by the chosen token."""
        self._matcher.accept_token(token)


def compile_grammar(
    schema: dict[str, Any], tokenizer: PreTrainedTokenizerBase, vocabulary: int, eos: Collection[int], begun: str
) -> Grammar | None:
    """Return the grammar of a JSON schema.

    Args:
        schema: JSON schema. An empty schema allows any JSON object.
        tokenizer: The model's tokenizer.
        vocabulary: Number of logits per place.
        eos: Token ids that end a turn.
        begun: Text of the answer so far.

    Returns:
        The grammar. None if xgrammar is not installed, or if `begun` does not match the schema.
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

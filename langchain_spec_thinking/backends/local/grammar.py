"""Grammars that restrict an answer token by token (with xgrammar)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from langchain_spec_thinking.errors import InvalidRequestError
from langchain_spec_thinking.installing import install_hint

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch
    import xgrammar
    from transformers import PreTrainedTokenizerBase

    from langchain_spec_thinking.backends.replies.call_format import AnswerGrammar, AnswerPlan

_MISSING = (
    "The answer is not restricted to its JSON schema, because xgrammar is missing. Install the extra [structured]: "
    f"{install_hint('structured')}. The prompt contains the schema, but nothing enforces it."
)
_COMPILERS: WeakKeyDictionary[PreTrainedTokenizerBase, xgrammar.GrammarCompiler] = WeakKeyDictionary()


def missing_grammar(plan: AnswerPlan) -> str | None:
    """Return that nothing enforces the grammar of a plan, and how to change this; None if there is nothing to say."""
    if plan.grammar is None:
        return None
    try:
        import xgrammar  # noqa: F401, PLC0415 - an optional extra
    except ImportError:
        return _MISSING
    return None


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
    plan: AnswerPlan, tokenizer: PreTrainedTokenizerBase, vocabulary: int, eos: Collection[int]
) -> Grammar | None:
    """Return the grammar that a plan asks for. An empty JSON schema allows any JSON object.

    Args:
        plan: The plan for the next text.
        tokenizer: The model's tokenizer.
        vocabulary: Number of logits per place.
        eos: Token ids that end a turn.

    Returns:
        The grammar. None if the plan has none, if xgrammar is not installed, or if the answer so far does not match.

    Raises:
        InvalidRequestError: The schema is not valid, or nothing can satisfy it.
    """
    if plan.grammar is None or missing_grammar(plan):
        return None
    import xgrammar  # noqa: PLC0415

    compiler = _COMPILERS.get(tokenizer)
    if compiler is None:
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary, stop_token_ids=sorted(eos))
        compiler = _COMPILERS.setdefault(tokenizer, xgrammar.GrammarCompiler(info))
    try:
        compiled = _compiled(plan.grammar, compiler)
    except RuntimeError as e:
        msg = f"the JSON schema cannot be enforced ({_reason(e)}). Correct the schema."
        raise InvalidRequestError(msg) from e
    matcher = xgrammar.GrammarMatcher(compiled)
    if plan.begun and not matcher.accept_string(plan.begun):
        return None
    return Grammar(matcher, vocabulary)


def _reason(error: RuntimeError) -> str:
    """Return what xgrammar says, without the time and the line of its source."""
    return re.sub(r"^\[[^]]*\] \S+ ", "", str(error).strip().rstrip("."))


def _compiled(grammar: AnswerGrammar, compiler: xgrammar.GrammarCompiler) -> xgrammar.CompiledGrammar:
    if grammar.kind == "json_schema":
        return compiler.compile_json_schema(json.dumps(grammar.definition or {"type": "object"}), any_whitespace=False)
    return compiler.compile_structural_tag(json.dumps({"type": grammar.kind, "format": grammar.definition}))

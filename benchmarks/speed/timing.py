"""The clock of the benchmark, and the loop that others write with `generate` of transformers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def clock() -> float:
    """Return the time in seconds, after an accelerator has done all work that it was given.

    An accelerator works on while the program goes on. Without the wait, its last work would count for nothing, or for
    whatever is timed next.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes, in seconds."""
    began = clock()
    work()
    return clock() - began


def generate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, question: str, text: str, tokens: int) -> str:
    """Continue an answer with greedy decoding by one call of `generate`. The call reads the whole text.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        question: The user's message.
        text: The answer so far.
        tokens: Token limit.

    Returns:
        The new text.
    """
    prompt: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    ids = torch.tensor([tokenizer.encode(f"{prompt}{text}", add_special_tokens=False)], device=model.device)
    write: Any = model.generate
    with torch.inference_mode():
        written = write(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(written[0, ids.shape[1] :]))

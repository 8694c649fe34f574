"""A transformers model in this process: the forward pass and the choice of the next token."""

from __future__ import annotations

import copy
import math
import threading
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from transformers import GenerationConfig, GenerationMixin, LogitsProcessorList, PreTrainedModel

from langchain_spec_thinking.backends.base import Usage
from langchain_spec_thinking.backends.local.batched_forward import BatchedForward
from langchain_spec_thinking.backends.local.cache_argument import CacheArgument
from langchain_spec_thinking.backends.local.cache_check import check_cache
from langchain_spec_thinking.backends.local.grammar import Grammar, compile_grammar
from langchain_spec_thinking.backends.local.kv_cache import TurnCache
from langchain_spec_thinking.backends.local.prefix_cache_pool import PrefixCachePool
from langchain_spec_thinking.backends.local.recorded_pass import recorder_for
from langchain_spec_thinking.backends.prefetching import begin, prefetch_in_thread
from langchain_spec_thinking.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from langchain_spec_thinking.backends.base import Request
    from langchain_spec_thinking.backends.replies.call_format import AnswerPlan
    from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
    from langchain_spec_thinking.turn import Turn

_LOADED: WeakValueDictionary[int, LocalModel] = WeakValueDictionary()  # by `id(model)`; values keep their model alive
_LOADING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token.

    Attributes:
        token: Token id.
        top_logprobs: Log-probabilities of the most likely tokens at this place, in descending order. None if they were
            not requested.
    """

    token: int
    top_logprobs: tuple[float, ...] | None = None


class LocalModel:
    """A loaded model. All backends and running turns that use the same model share one instance.

    Args:
        model: The model.

    Attributes:
        eos: Token ids that end a turn.
        device: Device of the model, for example `"cuda:0"`.
        context: Context length, in tokens. None if the model's configuration does not state it.
        vocabulary: Number of tokens that have a score.

    Raises:
        ContinuationError: The model cannot continue from a KV cache.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model.eval()
        self._argument = check_cache(CacheArgument.of(self._model))
        self._forward = BatchedForward(self._argument)
        self._turns: WeakKeyDictionary[Turn, dict[str, TurnCache]] = WeakKeyDictionary()  # by template source
        self._cache_pool = PrefixCachePool()
        self.device = str(model.device)
        text_config = model.config.get_text_config()
        self.context: int | None = getattr(text_config, "max_position_embeddings", None)
        self.vocabulary: int = text_config.vocab_size
        eos = model.generation_config.eos_token_id if model.generation_config else None
        self.eos = {eos} if isinstance(eos, int) else set(eos or ())

    @classmethod
    def of(cls, model: PreTrainedModel) -> LocalModel:
        """Return the instance for a model. There is one per model, so that two backends share the caches of a turn."""
        with _LOADING:
            return _LOADED.get(id(model)) or _LOADED.setdefault(id(model), cls(model))

    def compile(self) -> str | None:
        """Record the passes over one token from now on. Return why this is not possible, or None."""
        return self._forward.record_passes(recorder_for(self._model.device))

    def turn_cache(self, turn: Turn, template: ChatTemplate) -> TurnCache:
        """Return the cache of a running turn.

        The cache belongs to the turn for the turn's lifetime. A new turn takes over the cache of an earlier turn of the
        same conversation, if one is left.
        """
        caches = self._turns.setdefault(turn, {})
        cache = caches.get(template.source)
        if cache is None:
            tokenizer = template.tokenizer
            prompt = template.prompt_ids(turn)
            cache = TurnCache(tokenizer, self._argument, prompt, template.special_marks, template.reply_controls)
            if earlier := self._cache_pool.take(prompt):
                cache.take_over(earlier)
            caches[template.source] = cache
            self._cache_pool.return_after(turn, cache)
        return cache

    @contextmanager
    def writing_cache(self, turn: Turn, template: ChatTemplate) -> Iterator[TurnCache]:
        """Align the cache of a turn with its text, and mark it as in use while the model continues the turn."""
        cache = self.turn_cache(turn, template)
        if cache.writing:  # a request was cancelled, but its last step still runs in its thread
            del self._turns[turn][template.source]
            cache = self.turn_cache(turn, template)
        if cache.prefetching and not cache.prefetching.cancel():
            wait([cache.prefetching])
        cache.align(template.reply_text(turn))
        cache.writing = True
        try:
            yield cache
        finally:
            cache.writing = False
            self._forward.leave(cache)

    def prefetch(self, turn: Turn, template: ChatTemplate) -> Future[Usage] | None:
        """Start to prefill a turn as it stands.

        Returns:
            A future with the tokens used. None if the model is writing or reading this turn already, if the turn is
            longer than the context, or if too many prefetches are running.
        """
        cache = self.turn_cache(turn, template)
        if cache.writing or (cache.prefetching and not cache.prefetching.done()):
            return None
        cache.align_temporarily(template.reply_text(turn))
        if self.context is not None and len(cache.ids) > self.context:
            return None
        usage = Usage(len(cache.ids), len(cache.ids) - len(cache.missing()))

        def read(prefetch: Future[Usage], _turn: Turn = turn) -> Usage:  # `_turn` keeps the cache from another turn
            if begin(prefetch):
                self._read(cache)
                self._forward.leave(cache)
            return usage

        cache.prefetching = prefetch_in_thread(read)
        return cache.prefetching

    def step(self, cache: TurnCache, sampler: Sampler, draft: Sequence[int] = (), top: int = 0) -> list[Choice]:
        """Choose the next token. Keep tokens of the draft as long as the model chooses the same ones.

        Args:
            cache: The cache of the turn. The same pass reads the tokens that the cache does not hold yet, together with
                other turns.
            sampler: Sampler that chooses each token.
            draft: Token ids that may follow.
            top: Number of most likely tokens whose log-probabilities are requested.

        Returns:
            The accepted tokens of the draft, then one more token.

        Raises:
            BackendError: The logits are NaN or infinite.
        """
        chosen: list[Choice] = []
        ids = [*cache.ids] if draft else cache.ids
        for scores, drafted in zip(self._read(cache, draft), [*draft, None], strict=True):
            self._require_finite(scores, cache)
            likeliest = _top_logprobs(scores, top) if top else None
            token = sampler.choose(scores, ids)
            chosen.append(Choice(token, likeliest))
            if token != drafted:
                break
            ids.append(token)
        return chosen

    def draft(self, cache: TurnCache, tokens: int, confidence: float) -> tuple[str, int]:
        """Write a draft with greedy decoding, for another model to check.

        Args:
            cache: The cache of the turn.
            tokens: Token limit.
            confidence: Stop before a token whose probability is lower than this.

        Returns:
            The text, and the number of tokens spent on it.
        """
        text = ""
        try:
            for count in range(tokens):
                probability, token = self._read(cache)[0].float().softmax(-1).max(-1)
                if not probability >= confidence or int(token) in self.eos:  # NaN is no reason to go on either
                    return text, count
                text += cache.append(int(token))
        finally:
            self._forward.leave(cache)
        return text, tokens

    def _read(self, cache: TurnCache, draft: Sequence[int] = ()) -> torch.Tensor:
        try:
            return self._forward.read(cache, draft)
        except torch.OutOfMemoryError:
            if not self._cache_pool.clear():
                raise
            return self._forward.read(cache, draft)

    def _require_finite(self, scores: torch.Tensor, cache: TurnCache) -> None:
        """Raise an error if the largest logit is NaN or infinite. A model may exclude single tokens with -inf."""
        largest = scores.max()
        if largest.isfinite():
            return
        cache.forget()  # its keys and values may be NaN, and a later turn would take them over
        name = self._model.name_or_path or type(self._model).__name__
        msg = (
            f"{name}: after {len(cache.ids)} tokens, the largest logit is {float(largest)}, so no token can be chosen. "
            f"The model runs in {self._model.dtype} on {self.device}. "
            "Load it with another `dtype` (bfloat16 or float32) or on another `device`, and check that its weights are "
            "complete."
        )
        raise BackendError(msg)

    def sampler(self, plan: AnswerPlan, request: Request, template: ChatTemplate, prompt: list[int]) -> Sampler:
        """Return the sampler for a request. Settings that are None come from the model's generation configuration.

        Args:
            plan: The form of the answer.
            request: The request.
            template: The chat template.
            prompt: Token ids of the conversation, without the turn.
        """
        grammar = compile_grammar(plan, template.tokenizer, self.vocabulary, self.eos)
        return Sampler(self._model, request, prompt, self.eos, grammar)


def _top_logprobs(scores: torch.Tensor, count: int) -> tuple[float, ...]:
    scores = scores.float()
    top = scores.topk(min(count, len(scores))).values - scores.logsumexp(0)
    return tuple(top.tolist())


class Sampler:
    """Chooses tokens like `generate` of transformers, whose own processors change the logits.

    Args:
        model: The model. Its generation configuration holds the defaults.
        request: Temperature, top_p, top_k and seed.
        prompt: Token ids of the conversation. Rules for the beginning of a text hold for the tokens after them, whoever
            wrote these, so they do not begin anew if the model continues a turn.
        eos: Token ids that end a turn.
        grammar: Grammar that the text must follow.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        request: Request,
        prompt: list[int],
        eos: set[int],
        grammar: Grammar | None = None,
    ) -> None:
        self._grammar = grammar
        config = _generation_config(model, request, eos)
        self._greedy = not config.do_sample
        # transformers has no public name for the function that makes the processors
        self._processors: LogitsProcessorList = GenerationMixin._get_logits_processor(  # noqa: SLF001
            model,  # type: ignore[arg-type] # some models of other authors are no GenerationMixin
            config,
            len(prompt),
            torch.tensor([prompt], device=model.device),  # type: ignore[arg-type] # a LongTensor
            device=model.device,  # type: ignore[arg-type] # `generate` passes the same
        )
        self._rng = None
        if request.seed is not None:
            self._rng = torch.Generator(device=model.device).manual_seed(request.seed)

    def choose(self, scores: torch.Tensor, ids: list[int]) -> int:
        """Choose the next token.

        Args:
            scores: Logits of all tokens, of shape (vocabulary,).
            ids: Ids of all tokens before it.
        """
        if self._grammar:
            scores = self._grammar.restrict(scores)
        token = self._choose(scores, ids)
        if self._grammar:
            self._grammar.accept(token)
        return token

    def _choose(self, scores: torch.Tensor, ids: list[int]) -> int:
        if self._processors:
            all_ids: Any = torch.tensor([ids], device=scores.device)
            processed = self._processors(all_ids, scores.float().unsqueeze(0))[0]
            if not self._grammar or processed.max() > -math.inf:  # the grammar may leave only what the rules forbid
                scores = processed
        if self._greedy:
            return int(scores.argmax())
        return int(torch.multinomial(scores.float().softmax(-1), 1, generator=self._rng))


def _generation_config(model: PreTrainedModel, request: Request, eos: set[int]) -> Any:  # noqa: ANN401 - has private fields
    """Return the model's generation configuration with the settings of a request."""
    config: Any = copy.deepcopy(model.generation_config or GenerationConfig())
    temperature = request.temperature
    if temperature is None:
        temperature = (config.temperature or 1.0) if config.do_sample else 0.0
    config.do_sample = temperature > 0
    config.temperature = float(temperature)
    config.top_k = config.top_k if request.top_k is None else request.top_k
    config.top_p = config.top_p if request.top_p is None else request.top_p
    config.num_beams = 1
    config.guidance_scale = None  # needs a second model
    config.forced_eos_token_id = None  # a request does not know the length of the turn
    config._eos_token_tensor = torch.tensor(sorted(eos), device=model.device) if eos else None  # noqa: SLF001 - as `generate`
    return config

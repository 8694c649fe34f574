"""A backend for transformers models in this process."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from langchain_spec_thinking.backends.base import Backend, End, Event, Limitation, Request, Usage, not_picklable
from langchain_spec_thinking.backends.capabilities import IN_THIS_PROCESS, OWN_TOKENS, Capabilities
from langchain_spec_thinking.backends.local.drafts import CONFIDENCE, Drafts
from langchain_spec_thinking.backends.local.grammar import missing_grammar
from langchain_spec_thinking.backends.local.loading import load_model, load_tokenizer
from langchain_spec_thinking.backends.redaction import described_path, public_name
from langchain_spec_thinking.backends.replies.call_reader import CallReader
from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
from langchain_spec_thinking.backends.replies.thought_reader import answer_thoughts
from langchain_spec_thinking.errors import BackendError, PromptTooLongError
from langchain_spec_thinking.installing import require_modules
from langchain_spec_thinking.price import FREE, Price, require_price

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from concurrent.futures import Future

    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.utils.quantization_config import QuantizationConfigMixin

    from langchain_spec_thinking.backends.base import Drafter
    from langchain_spec_thinking.backends.local.kv_cache import TurnCache
    from langchain_spec_thinking.backends.local.model import Choice, Sampler
    from langchain_spec_thinking.backends.replies.call_format import AnswerPlan
    from langchain_spec_thinking.turn import Turn


class HuggingFaceBackend(Backend):
    """A backend for causal language models of transformers.

    Each running turn has one KV cache, and the model reads each token only once. Tokens that the model wrote are kept
    as they are. Text of another author is tokenized as a delta. A rejected draft is cropped from the cache. Turns that
    run at the same time share forward passes, so threads and both roles may share one backend.

    Args:
        model: Hub id, folder, or a loaded model. A loaded model needs a `tokenizer`.
        tokenizer: Hub id, folder, or a loaded tokenizer. The default is the tokenizer that comes with the model.
        thinking: Whether the model reasons between `<think>` and `</think>`. None detects it from the chat template.
        dtype: Data type of the weights, as for `from_pretrained`. `"auto"` uses the checkpoint's own data type. For
            quantized weights of a GGUF file, this is float32, which takes twice the memory of `"bfloat16"`.
        device: Device of the weights: `"auto"`, or a device such as `"cuda:0"`.
        trust_remote_code: Whether to run code that comes with the checkpoint.
        gguf_file: Name of a GGUF file in the folder or Hub repository `model`. The weights come from this file. The
            tokenizer and the chat template come from it too, unless `tokenizer` is given. Transformers unpacks the
            weights on most devices.
        quantization_config: Quantization of the weights, as for `from_pretrained`, for example a `BitsAndBytesConfig`.
        compile: Whether to record the passes over one token and to replay them without the Python code of the model: as
            a CUDA graph on an NVIDIA accelerator, with `torch.compile` elsewhere. The latter needs a C++ compiler and
            takes about a minute at the start. The text does not change, except for rounding. If the model cannot be
            recorded, `compile` has no effect, and every report says so. Do not change the model (adapters, device)
            afterwards.
        price: The price of the model's tokens. By default they cost nothing.

    Raises:
        ImportError: The extra `[huggingface]` is not installed; or `gguf_file` is given, and the extra `[gguf]` is not
            installed, or transformers is older than 5.18; or the quantization needs another package.
        ValueError: A loaded model came without a tokenizer, or with `gguf_file` or `quantization_config`; or `price`
            is not a price.
        BackendError: The model cannot be loaded.
        ContinuationError: The model has no chat template, or cannot continue from a KV cache.
    """

    price: Price | None = FREE

    def __init__(
        self,
        model: str | os.PathLike[str] | PreTrainedModel,
        tokenizer: str | os.PathLike[str] | PreTrainedTokenizerBase | None = None,
        *,
        thinking: bool | None = None,
        dtype: Any = "auto",  # noqa: ANN401 - a torch.dtype or its name; torch may not be installed
        device: str = "auto",
        trust_remote_code: bool = False,
        gguf_file: str | None = None,
        quantization_config: QuantizationConfigMixin | dict[str, Any] | None = None,
        compile: bool = False,  # noqa: A002 - the word of torch and of transformers
        price: Price | None = FREE,
    ) -> None:
        require_price(price)
        require_modules("HuggingFaceBackend", "huggingface", "torch", "transformers")
        from langchain_spec_thinking.backends.local.model import LocalModel  # noqa: PLC0415 - imports torch

        if not isinstance(model, (str, os.PathLike)):
            if tokenizer is None:
                msg = "tokenizer: a loaded model needs a tokenizer, got None"
                raise ValueError(msg)
            _require_none(gguf_file=gguf_file, quantization_config=quantization_config)
            loaded, path = model, model.name_or_path or type(model).__name__
        else:
            path = os.fspath(model)
            loaded = load_model(
                path,
                dtype=dtype,
                device=device,
                trust_remote_code=trust_remote_code,
                gguf_file=gguf_file,
                quantization_config=quantization_config,
            )
        if tokenizer is None:
            tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code, gguf_file=gguf_file)
        elif isinstance(tokenizer, (str, os.PathLike)):
            tokenizer = load_tokenizer(os.fspath(tokenizer), trust_remote_code=trust_remote_code)
        self._clock = time.perf_counter
        self._path = os.path.abspath(path) if os.path.isdir(path) else path  # noqa: PTH100, PTH112 - it may be a Hub id
        self.name = public_name(self._path)
        self.price = price
        self._quantization = _described(gguf_file, quantization_config)
        self._dtype = str(loaded.dtype).removeprefix("torch.")
        self._template = ChatTemplate(tokenizer, thinking=thinking)
        self._model = LocalModel.of(loaded)
        self.thinks = self._template.thinks
        if tokenizer.eos_token_id is not None:
            self._model.eos.add(tokenizer.eos_token_id)
        not_compiled = self._model.compile() if compile else None
        self._limitation = f"{self.name}: not compiled, because {not_compiled}" if not_compiled else None

    def continue_turn(self, turn: Turn, request: Request) -> Generator[Event, None, None]:
        """Write the turn token by token. Stopping between tokens costs nothing."""
        with self._errors(), self._model.writing_cache(turn, self._template) as cache:
            plan = self._template.plan(turn)
            if self._limitation:
                yield Limitation(self._limitation)
            if missing := missing_grammar(plan):
                yield Limitation(f"{self.name}: {missing}")
            yield from self._continue(turn, request, cache, plan)

    def _continue(
        self, turn: Turn, request: Request, cache: TurnCache, plan: AnswerPlan
    ) -> Generator[Event, None, None]:
        model = self._model
        room = request.max_tokens if model.context is None else min(request.max_tokens, model.context - len(cache.ids))
        if room <= 0 and turn.spans:  # the other model may continue the turn
            yield End("length")
            return
        if room <= 0:
            msg = (
                f"{self.name}: the conversation has {len(cache.ids)} tokens, but the model's context length is "
                f"{model.context}. Shorten the messages or use a model with a longer context."
            )
            raise PromptTooLongError(msg)
        prompt = len(cache.ids)
        cached = prompt - len(cache.missing()) - cache.copied
        usage = Usage(prompt_tokens=prompt, cached_tokens=cached + cache.copied)
        yield usage
        sampler = model.sampler(plan, request, self._template, cache.prompt)
        reader = CallReader(plan, answer_thoughts(turn, self._template.thoughts), self.name)
        drafts = Drafts(request, cache, self._clock)
        unseen = 0  # tokens without text, or that end inside a character
        top: tuple[float, ...] | None = None  # of the first unseen token
        written = 0
        while written < room:
            request.deadline.require()
            chosen = self._step(cache, sampler, drafts.next(room - written - 1), request.top_logprobs)
            if usage.cached_tokens != cached + cache.copied:  # another turn had read the prompt
                usage = replace(usage, cached_tokens=cached + cache.copied)
                yield usage
            if drafts.record_result([choice.token for choice in chosen]):
                usage = replace(usage, accepted_tokens=drafts.kept, drafted_tokens=drafts.drafted)
                yield usage
            for choice in chosen:
                if choice.token in model.eos:
                    yield from reader.rest()
                    yield End("stop", replace(usage, completion_tokens=written))
                    return
                top = choice.top_logprobs if not unseen else top
                unseen += 1
                written += 1
                if text := cache.append(choice.token):
                    drafts.written += text
                    yield from reader.read(text, unseen, top)
                    unseen = 0
                if reader.done:
                    yield End("stop", replace(usage, completion_tokens=written))
                    return
        yield from reader.rest()
        yield End("length", replace(usage, completion_tokens=room))

    def _step(self, cache: TurnCache, sampler: Sampler, draft: Sequence[int], top_logprobs: int) -> list[Choice]:
        try:
            return self._model.step(cache, sampler, draft, top_logprobs)
        except BackendError:  # for example logits that are not finite
            raise
        except Exception as e:  # mostly out of memory, but a model's code may raise anything
            reason = str(e).strip() or type(e).__name__
            msg = f"{self.name}: the forward pass failed after {len(cache.ids)} tokens ({reason})"
            raise BackendError(msg) from e

    def drafter(self, turn: Turn) -> Drafter | None:
        """Return a function that writes drafts from the turn's text as it stands now and the text written since."""
        reply = self._template.reply_text(turn)

        def write(text: str, tokens: int) -> tuple[str, int]:
            cache = self._model.turn_cache(turn, self._template)
            if cache.writing:  # both roles use the same model
                return "", 0
            try:
                cache.align_temporarily(reply + text)
                if self._model.context is not None and len(cache.ids) + tokens > self._model.context:
                    return "", 0
                return self._model.draft(cache, tokens, CONFIDENCE)
            except Exception:  # noqa: BLE001 - the other model continues without a draft
                return "", 0

        return write

    def prefetch(self, turn: Turn) -> Future[Usage] | None:
        """Prefill the turn into its KV cache, in a thread."""
        with self._errors():
            return self._model.prefetch(turn, self._template)

    def prefetch_is_free(self, writer: Backend) -> bool:
        """Return whether the other model runs on another device or outside this process."""
        return writer.capabilities.device != self._model.device

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do. Log-probabilities come from the raw logits, before temperature and penalties."""
        return Capabilities(
            place=IN_THIS_PROCESS,
            engine="transformers",
            device=self._model.device,
            continuation=OWN_TOKENS,
            context=self._model.context,
            top_logprobs_max=self._model.vocabulary,
            stops_on_cancel=True,
            tool_calls="text",
            counts_exactly=True,
            prefetches=True,
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise a BackendError for any error, for example of the tokenizer, the sampler or the grammar."""
        try:
            yield
        except BackendError:
            raise
        except Exception as e:
            msg = f"{self.name}: {str(e).strip() or type(e).__name__}"
            raise BackendError(msg) from e

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text with the model's own tokenizer."""
        return len(self.token_ids(text))

    def token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text in the model's vocabulary."""
        ids: list[int] = self._template.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def __reduce__(self) -> NoReturn:
        """Refuse to pickle the loaded weights and the running turns."""
        raise not_picklable(self)

    def describe(self) -> dict[str, Any]:
        """Return the model and the settings that change what it writes. A folder is described by its last name."""
        return {**super().describe(), **described_path(self._path), "dtype": self._dtype, **self._quantization}


def _require_none(**settings: object) -> None:
    """Raise an error if a setting for loading a model comes with a loaded model."""
    for name, value in settings.items():
        if value is not None:
            msg = f"{name}: expected None for a loaded model, got {value!r}. Pass the model's folder or Hub id instead."
            raise ValueError(msg)


def _described(
    gguf_file: str | None, quantization_config: QuantizationConfigMixin | dict[str, Any] | None
) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if gguf_file is not None:
        described["gguf_file"] = public_name(gguf_file)
    if quantization_config is not None:
        config = quantization_config
        described["quantization"] = config if isinstance(config, dict) else json.loads(config.to_json_string())
    return described

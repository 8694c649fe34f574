"""The LangChain chat model that combines a small and a large model."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - `with_fallbacks` evaluates the annotations of `bind_tools`
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.language_models.base import LanguageModelInput  # noqa: TC002 - as above
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage  # noqa: TC002
from langchain_core.runnables import Runnable  # noqa: TC002
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from langchain_spec_thinking.backends.base import Backend
from langchain_spec_thinking.backends.chat_model import ChatModelBackend
from langchain_spec_thinking.backends.specs import backend_of
from langchain_spec_thinking.binding import BINDABLE, Method, Tool, bound_tools, schema_of, structured, tools_of
from langchain_spec_thinking.call_arguments import FURTHER_ARGUMENTS, require_user, without_aliases
from langchain_spec_thinking.callbacks import CallbackAwareChatModel, adrive_with_callbacks, drive_with_callbacks
from langchain_spec_thinking.deadline import Clock, Deadline
from langchain_spec_thinking.escalation_advice import advise_escalation, require_escalation
from langchain_spec_thinking.messages import chunk_of, history_of, last_chunk, unsupported_content, whole_chunk
from langchain_spec_thinking.owned_stream import OwnedStream
from langchain_spec_thinking.policy import DelegationPolicy
from langchain_spec_thinking.policy.data import as_data
from langchain_spec_thinking.policy.function_names import tokens_of_functions
from langchain_spec_thinking.recording.recorder import current_recorder
from langchain_spec_thinking.room import TokenLimits
from langchain_spec_thinking.run import DraftVerification  # noqa: TC001 - pydantic evaluates it
from langchain_spec_thinking.stop_strings import stop_strings
from langchain_spec_thinking.turn import Turn
from langchain_spec_thinking.turn_runs import TurnRuns, new_run
from langchain_spec_thinking.writers import OnTargetFailure  # noqa: TC001 - pydantic evaluates it

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import Unpack

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models.base import LangSmithParams
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult

    from langchain_spec_thinking.chat_settings import ChatSettings, ModelLike
    from langchain_spec_thinking.turn_events import Delta
    from langchain_spec_thinking.turn_runs import AnyRun

_PER_CALL = {"max_tokens", "thinking_tokens", "temperature", "top_p", "top_k", "seed"}
"""Settings that a single call may override."""


class ChatSpeculativeThinking(CallbackAwareChatModel):
    """A chat model in which a small model writes and a large model takes over if the reasoning gets hard.

    The class runs Speculative Thinking (arXiv:2504.12329) on text. The small (*speculative*) model writes. After each
    blank line, the policy looks at the small model's next sentence. If the sentence reflects, affirms or verifies, the
    large (*target*) model takes over: it writes some tokens and hands the turn back to the small model. Neither model
    is trained for this, and the two models may have different vocabularies.

    Setup:
        Install the package, here in a clone of its repository. The extra `[huggingface]` is for local models.

        ```bash
        pip install ".[huggingface]"
        ```

    Key init args:
        speculative: The small model: a backend, any chat model, or the name of a model (`backends.specs.backend_of`).
        target: The large model: a backend, any chat model, or the name of a model.
        policy: When the large model takes over, and for how many tokens.
        answer_by: Which model writes the answer after the thought: `"speculative"` (default) or `"target"`.
        max_tokens: Limit of thought and answer together, in tokens. None (default): what the contexts allow.
        thinking_tokens: Length after which the thought is closed at the next boundary, in tokens. None: as long as it
            leaves tokens for the answer.
        temperature: Sampling temperature. 0 is greedy.
        timeout: Time limit of a turn, in seconds.

    Instantiate:
        ```python
        from langchain_spec_thinking import ChatSpeculativeThinking, HuggingFaceBackend, OpenAIBackend

        model = ChatSpeculativeThinking(
            speculative=HuggingFaceBackend("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"),
            target=OpenAIBackend(
                "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
                base_url="http://127.0.0.1:8000/v1",
                tokenizer="deepseek-ai/DeepSeek-R1-Distill-Qwen-32B",
            ),
        )
        ```

    Invoke:
        ```python
        message = model.invoke("What is 17 * 23?")
        message.text  # the answer
        message.content_blocks  # the reasoning blocks, then the answer as a text block
        ```

    Stream:
        ```python
        for chunk in model.stream("What is 17 * 23?"):
            print(chunk.text, end="")
        ```
        Streamed text is final.

    Async:
        ```python
        message = await model.ainvoke("What is 17 * 23?")
        ```
        `astream`, `abatch` and `astream_events` work too.

    Tool calling:
        ```python
        from pydantic import BaseModel, Field


        class GetWeather(BaseModel):
            '''Get the current weather in a city.'''

            city: str = Field(description="The city, for example Bonn")


        message = model.bind_tools([GetWeather]).invoke("What is the weather like in Bonn?")
        message.tool_calls
        ```
        Both models reason about the call. Then the model that `answer_by` names writes the answer and the calls.

    Structured output:
        ```python
        from pydantic import BaseModel


        class Weather(BaseModel):
            '''The weather in a city.'''

            city: str
            sunny: bool


        weather = model.with_structured_output(Weather).invoke("The sun shines in Bonn today.")
        ```

    Token usage:
        ```python
        message.usage_metadata
        ```
        The usage counts the prompt once and the tokens of the final text. The response metadata tells what each model
        was billed for, including prompts that were read again and drafts that were dropped.

    Response metadata:
        ```python
        message.response_metadata["speculative_thinking"]["takeovers"]
        ```
        The report holds the segments (author, channel, kind, start and end in characters, tokens, cue, seconds), the
        number of takeovers, the share of tokens that the large model wrote, and the usage of each model.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # the name of a model may contain a password

    speculative: Backend
    """The small model. It writes most of the turn."""
    target: Backend
    """The large model. It takes over at the places that the policy chooses."""
    policy: DelegationPolicy = Field(default_factory=DelegationPolicy)
    """When the large model takes over, and for how many tokens. Use `DelegationPolicy.non_reasoning()` if the small
    model does not reason."""
    answer_by: Literal["speculative", "target"] = "speculative"
    """Which model writes the answer after the thought is closed."""
    think_before_tools: bool = True
    """Whether both models reason first in turns that have tools. If False, the model that `answer_by` names answers or
    calls a tool at once."""
    on_target_failure: OnTargetFailure = "continue"
    """What to do if the large model fails and retries do not help. `"continue"`: the small model goes on alone, and the
    report says so. `"raise"`: raise the error."""
    draft_verification: DraftVerification = "replaced"
    """Which drafts of the small model a local large model checks in one forward pass. It keeps the tokens that it would
    have written itself. `"replaced"`: the drafts that takeovers replace. `"ahead"`: also drafts that a local small
    model writes ahead whenever the large model writes, in takeovers and in its answers; this pays if the models belong
    to one family and differ much in size. A turn measures whether these drafts pay, and writes no more if they do not.
    The report counts the tokens of these drafts in `drafts["written_tokens"]`, and not in `usage`. `"off"`: none. A
    setting has no effect, and nothing is reported, if the large model is not local or cannot check drafts. `"ahead"`
    does the same as `"replaced"` if the small model is not local, or if both models are the same object."""
    prefetch: Literal["off", "auto", "on"] = "off"
    """Whether the large model reads (prefills) the text at each blank line while the small model writes the next
    sentence. A takeover then begins sooner. A local model reads in a thread. A server gets a request for one token at
    each blank line. `"auto"`: only if this is free, that is, if the server is on your own network, or if the local
    large model runs on another device than the small model."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Limit of thought and answer together, in tokens. Each model's text is counted in its own vocabulary. A quarter of
    them, at most 1,024, is kept for the answer: a thought that would take them too is closed. None: what the contexts
    of both models leave after the conversation, and 32,768 tokens if no context is known. A larger limit than the
    contexts allow is lowered."""
    thinking_tokens: int | None = Field(default=None, ge=1)
    """Length of the thought, in tokens, after which it is closed at the next boundary, and the answer follows. If no
    boundary comes, it is closed at the end of a word: an eighth later, at most 128 tokens. None: the thought may use
    all tokens that are not kept for the answer."""
    temperature: float | None = Field(default=0.6, ge=0, allow_inf_nan=False)
    """Sampling temperature. 0 is greedy. None leaves it to each model. The default is the paper's value."""
    top_p: float | None = Field(default=0.95, gt=0, le=1)
    """Probability mass of nucleus sampling. None leaves it to each model. The default is the paper's value."""
    top_k: int | None = Field(default=None, ge=1)
    """Sample among the k most likely tokens. None leaves it to each model. Not every server supports it."""
    seed: int | None = Field(default=None, ge=0, lt=2**62)
    """Seed for reproducible sampling, if the engines support it. Engines store 64 bits, and each request of a turn adds
    1 to the seed."""
    timeout: float | None = Field(default=None, gt=0)
    """Time limit of a turn, in seconds. A turn that takes longer raises an error that carries the text so far. The
    limit holds whatever a server does, and asynchronous calls return in time in any case. Blocking calls notice it only
    at the next token if a local model or another chat model writes. None: no limit for the turn.
    `OpenAIBackend(timeout=...)` still limits how long a server may send no text."""
    _clock: Clock = PrivateAttr(default_factory=Clock)
    stop: list[str] | None = None
    """Stop strings, or a single one. They end the answer, are not part of it, and have no effect in the thought.
    At most 64 strings of at most 1,000 characters each."""

    if TYPE_CHECKING:  # pydantic makes the constructor from the fields, whose types are narrower

        def __init__(self, *, speculative: ModelLike, target: ModelLike, **settings: Unpack[ChatSettings]) -> None: ...

    @field_validator("speculative", "target", mode="before")
    @classmethod
    def _as_backend(cls, value: object) -> object:
        if isinstance(value, str):
            return backend_of(value)
        if isinstance(value, BaseChatModel) and not isinstance(value, ChatSpeculativeThinking):
            return ChatModelBackend(value)
        if not isinstance(value, Backend):
            known = "HuggingFaceBackend, OpenAIBackend, ChatModelBackend"
            msg = f"expected a backend ({known}), a chat model or the name of a model, got {type(value).__name__}"
            raise ValueError(msg)  # noqa: TRY004 - pydantic adds the name of the field only to a ValueError
        if not isinstance(name := getattr(value, "name", None), str) or not name:
            msg = f"expected a backend whose `name` is the name of its model, got {type(value).__name__} with {name!r}"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _require_logprobs(self) -> ChatSpeculativeThinking:
        needed, available = self.policy.trigger.top_logprobs, self.speculative.capabilities.top_logprobs_max
        if needed > available:
            trigger = type(self.policy.trigger).__name__
            msg = (
                f"policy: {trigger} needs the log-probabilities of the {needed} most likely tokens from the small "
                f"model, but {self.speculative!r} returns {f'at most {available}' if available else 'none'}. Use a "
                "HuggingFaceBackend, an OpenAIBackend whose server returns log-probabilities, or another trigger."
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _require_price(self) -> ChatSpeculativeThinking:
        if self.policy.budget:
            self.policy.budget.require_price(self.target.name, self.target.price)
        return self

    @model_validator(mode="after")
    def _check_escalation(self) -> ChatSpeculativeThinking:
        require_escalation(self.policy, self.speculative, answer_by=self.answer_by, temperature=self.temperature)
        advise_escalation(self.policy, self.target)
        return self

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_list(cls, value: str | Sequence[str] | None) -> list[str] | None:
        return None if value is None else list(stop_strings(value))

    @field_validator("timeout", mode="before")
    @classmethod
    def _require_seconds(cls, value: object) -> object:
        if hasattr(value, "read"):
            msg = (
                f"expected the seconds of a whole turn or None, got {value!r}, which limits the parts of a request. "
                "Pass it to OpenAIBackend(timeout=...)"
            )
            raise ValueError(msg)
        return value

    @classmethod
    def pocket(
        cls,
        *,
        speculative: ModelLike | None = None,
        target: ModelLike | None = None,
        **settings: Unpack[ChatSettings],
    ) -> ChatSpeculativeThinking:
        """Return a chat model made of the two tiny models that come with the package.

        It needs no download and no GPU. The models solve word problems like those in
        `langchain_spec_thinking.pocket.problems()` and nothing else. Decoding is greedy unless you set `temperature`.

        Args:
            speculative: Another small model. None: the small model of the package.
            target: Another large model. None: the large model of the package.
            **settings: Fields that differ from the defaults.

        Raises:
            ImportError: The extra `[huggingface]` is not installed.
        """
        from langchain_spec_thinking import pocket  # noqa: PLC0415 - only few users need it

        settings.setdefault("temperature", 0)
        small = pocket.speculative() if speculative is None else speculative
        large = pocket.target() if target is None else target
        return cls(speculative=small, target=large, **settings)

    # -- methods that LangChain calls

    @property
    def _llm_type(self) -> str:
        return "speculative-thinking"

    @property
    def model_name(self) -> str:
        """Names of both models, joined by ` + `."""
        return f"{self.speculative.name} + {self.target.name}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """Every setting that changes the output. Caches use these settings to tell models apart."""
        settings = {
            name: getattr(self, name)
            for name in ("answer_by", "think_before_tools", "on_target_failure", "stop", *sorted(_PER_CALL))
        }
        return {
            "model_name": self.model_name,
            "speculative": self.speculative.describe(),
            "target": self.target.describe(),
            "policy": {**asdict(self.policy), **self._policy_classes},
            **settings,
            "stop_strings": self.stop,  # LangChain replaces the entry "stop" by the stop strings of the call
            **self._prices,
        }

    @property
    def _prices(self) -> dict[str, Any]:
        """The prices, if they change what is written because the cost is limited."""
        if self.policy.budget is None or self.policy.budget.cost is None:
            return {}
        return {"prices": {"speculative": as_data(self.speculative.price), "target": as_data(self.target.price)}}

    @property
    def _policy_classes(self) -> dict[str, Any]:
        """The parts of the policy whose class matters. `asdict` drops the names of classes.

        A function that cannot be imported by its name, such as a lambda, has a token of its own, so that two such
        functions never share cached answers.
        """
        policy = self.policy
        tokens = list(tokens_of_functions([policy.trigger, policy.escalation]))
        functions = {"functions": tokens} if tokens else {}
        return {"trigger": repr(policy.trigger), "escalation": as_data(policy.escalation), **functions}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "spec-thinking"
        return params

    def get_num_tokens(self, text: str) -> int:
        """Return the number of tokens of a text in the vocabulary of the small model."""
        return self.speculative.count_tokens(text)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text in the vocabulary of the small model.

        Raises:
            NotImplementedError: The small model has no tokenizer. `get_num_tokens` still returns an estimate.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        ids = self.speculative.token_ids(text)
        if ids is None:
            msg = (
                f"{self.speculative.name} has no tokenizer here, so the ids of its tokens are not known. Pass "
                "`tokenizer=` to its backend, or use `get_num_tokens`."
            )
            raise NotImplementedError(msg)
        return ids

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run = self.new_run(messages, stop, **kwargs)
        return self._result(drive_with_callbacks(run, self._child_callbacks(run_manager)), run)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run = self.new_run(messages, stop, **kwargs)
        deltas = [delta async for delta in adrive_with_callbacks(run, self._achild_callbacks(run_manager))]
        return self._result(deltas, run)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        run = self.new_run(messages, stop, **kwargs)
        with closing(drive_with_callbacks(run, self._child_callbacks(run_manager))) as deltas:
            for chunk in self._chunks(deltas, run):
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        run = self.new_run(messages, stop, **kwargs)
        async with OwnedStream(adrive_with_callbacks(run, self._achild_callbacks(run_manager))) as deltas:
            async for delta in deltas:
                chunk = chunk_of(delta, thinks=run.turn.thinks)
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        chunk = self._last_chunk(run)
        if run_manager:
            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        yield chunk

    # -- tools and structured output

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return a model that may call tools.

        Both models reason. Then one model, the one that `answer_by` names, writes the whole answer and all calls.

        Args:
            tools: Functions, pydantic classes, JSON schemas, LangChain tools.
            tool_choice: `"auto"`, `"none"`, `"any"` (the model must call some tool), or the name of a tool.
            parallel_tool_calls: Whether one answer may hold several calls. None leaves it to the engine.
            strict: Whether arguments must satisfy the schema. Only some engines can enforce this.
            **kwargs: Other arguments to bind, for example `response_format`.

        Raises:
            ValueError: A tool is not a function, or `tool_choice` names none of the tools.
        """
        bound = bound_tools(tools, tool_choice=tool_choice, parallel_tool_calls=parallel_tool_calls, strict=strict)
        return self.bind(**bound, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Return a model whose answers satisfy a schema and are parsed.

        Args:
            schema: A pydantic class, a TypedDict, or a JSON schema.
            method: `"json_schema"`: the engine enforces the schema if it can. `"function_calling"`: the schema is a
                tool that the model must call. `"json_mode"`: the answer is any JSON object, and the prompt must
                describe it.
            include_raw: Return a dict of `raw`, `parsed` and `parsing_error` instead of raising.
            strict: Passed on to engines that distinguish strict schemas from others.
            **kwargs: Not supported. Any other argument raises an error.

        Raises:
            ValueError: The method or an argument is unknown.
        """
        if kwargs:
            msg = f"{', '.join(sorted(kwargs))}: unknown argument of with_structured_output"
            raise ValueError(msg)
        return structured(self, schema, method=method, include_raw=include_raw, strict=strict)

    def _resolve_model_profile(self) -> ModelProfile:
        """Return the capabilities: the inputs that both models can read and the outputs that the pair can write."""
        profile = ModelProfile(
            name=self.model_name,
            text_inputs=True,
            text_outputs=True,
            image_inputs=False,
            audio_inputs=False,
            video_inputs=False,
            reasoning_output=self.speculative.thinks or self.target.thinks,
            tool_calling=True,
            tool_choice=True,
            tool_call_streaming=True,
            structured_output=True,
            temperature=True,
        )
        known = (backend.capabilities.context for backend in (self.speculative, self.target))
        contexts = [context for context in known if context]
        if contexts:
            profile["max_input_tokens"] = min(contexts)
        return profile

    # -- a turn

    def new_run(self, messages: Sequence[BaseMessage], stop: Sequence[str] | None = None, **overrides: Any) -> AnyRun:
        """Return a new run of a turn. `drivers.drive` yields its text with authors instead of LangChain messages.

        Args:
            messages: The conversation.
            stop: Stop strings of the answer. None: those of the model.
            **overrides: Settings of this turn (`max_tokens`, `thinking_tokens`, `temperature`, `top_p`, `top_k`,
                `seed`), bound arguments (`tools`, `tool_choice`, `parallel_tool_calls`, `response_format`), and
                arguments of OpenAI's API: `max_completion_tokens` (another name of `max_tokens`), `n=1`, and `user`
                (an id of the application's user, which servers get).

        Raises:
            ValueError: A message or a setting cannot be used.
        """
        bound = {name: overrides.pop(name) for name in BINDABLE if name in overrides}
        tools, schema = tools_of(bound), schema_of(bound)
        user = require_user(overrides.pop("user", None))
        settings = self._settings(without_aliases(overrides))
        limits = TokenLimits(settings.pop("max_tokens"), settings.pop("thinking_tokens"))
        stops = stop_strings(self.stop if stop is None else stop)
        may_think = tools is None or self.think_before_tools
        thinks = may_think and (self.speculative.thinks or (self.policy.has_takeovers and self.target.thinks))
        turn = Turn(history_of(messages), thinks=thinks, tools=tools, schema=schema)
        recorder = current_recorder()
        runs = TurnRuns(
            turn,
            self.policy,
            {
                "thinks": thinks,
                "answer_by": self.answer_by,
                "stop": stops,
                "structured_answer": turn.structured_answer,
                "finish_words": self.target.capabilities.billed,
            },
            limits,
            backends={"speculative": self.speculative, "target": self.target},
            sampling={**settings, "stop": stops, "user": user},
            settings={
                "on_target_failure": self.on_target_failure,
                "budget": self.policy.budget,
                "deadline": Deadline.after(self.timeout, self._clock),
                "draft_verification": self.draft_verification,
                "prefetch": self.policy.has_takeovers and self._prefetches,
            },
            may_think=may_think,
        )
        run = recorder.new_run(self._identifying_params, runs) if recorder else new_run(runs)
        for words in unsupported_content(messages):
            run.add_degraded(words)
        writer: Backend = getattr(self, self.answer_by)
        if tools and tools.choice != "none" and writer.capabilities.tool_calls is None:
            run.add_degraded(
                f"{writer.name} may ignore the tools: its backend does not say how it calls tools. Set "
                "`Capabilities.tool_calls` if it does."
            )
        return run

    @property
    def _prefetches(self) -> bool:
        return self.prefetch == "on" or (self.prefetch == "auto" and self.target.prefetch_is_free(self.speculative))

    def _settings(self, overrides: dict[str, Any]) -> dict[str, Any]:
        unknown = overrides.keys() - _PER_CALL - {"stream"}
        if unknown:
            expected = ", ".join(sorted({*_PER_CALL, *FURTHER_ARGUMENTS}))
            msg = f"{', '.join(sorted(unknown))}: cannot be set per call; expected one of {expected}"
            raise ValueError(msg)
        settings = {name: overrides.get(name, getattr(self, name)) for name in _PER_CALL}
        if overrides:  # settings of a call obey the same rules as the fields
            pair = {name: getattr(self, name) for name in ("speculative", "target", "policy", "answer_by")}
            checked = ChatSpeculativeThinking.model_validate({**pair, **settings})
            settings = {name: getattr(checked, name) for name in _PER_CALL}
        return settings

    def _result(self, deltas: Iterable[Delta], run: AnyRun) -> ChatResult:
        written = list(deltas)  # what the run reports is known only now
        return generate_from_stream(iter([whole_chunk(written, thinks=run.turn.thinks), self._last_chunk(run)]))

    def _chunks(self, deltas: Iterable[Delta], run: AnyRun) -> Iterator[ChatGenerationChunk]:
        for delta in deltas:
            yield chunk_of(delta, thinks=run.turn.thinks)
        yield self._last_chunk(run)

    def _last_chunk(self, run: AnyRun) -> ChatGenerationChunk:
        prompt = run.report.prompt_tokens
        if prompt is None:
            prompt = sum(self.get_num_tokens(message.content) for message in run.turn.history)
        return last_chunk(run, model_name=self.model_name, prompt_tokens=prompt)

"""The LangChain face of a pair of models."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - `with_fallbacks` evaluates the annotations of `bind_tools`
from contextlib import aclosing, closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.language_models.base import LanguageModelInput  # noqa: TC002 - as above
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage  # noqa: TC002
from langchain_core.runnables import Runnable  # noqa: TC002
from pydantic import BaseModel, Field, field_validator, model_validator

from langchain_spec_thinking.backends.base import Backend, Request
from langchain_spec_thinking.backends.chat_model import ChatModelBackend
from langchain_spec_thinking.backends.specs import backend_of
from langchain_spec_thinking.binding import BOUND, Method, Tool, bound_tools, schema_of, structured, tools_of
from langchain_spec_thinking.callbacks import CallbackAwareChatModel, adrive_with_callbacks, drive_with_callbacks
from langchain_spec_thinking.drivers import Delta, DraftVerification, OnTargetFailure, Run
from langchain_spec_thinking.messages import chunk_of, history_of, joined, last_chunk
from langchain_spec_thinking.policy import Delegation, DelegationPolicy
from langchain_spec_thinking.recording.recorder import current_recorder
from langchain_spec_thinking.turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models.base import LangSmithParams
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, ChatResult

_PER_CALL = {"max_tokens", "temperature", "top_p", "top_k", "seed"}
"""Settings that a call may override."""


class ChatSpeculativeThinking(CallbackAwareChatModel):
    """A chat model made of a small one that writes and a large one that takes over where the reasoning gets hard.

    It runs Speculative Thinking (arXiv:2504.12329) on text: after a blank line, when the small model's next sentence
    reflects, affirms or verifies, the large one writes some tokens and hands back. Neither is trained for it, and they
    need not share a vocabulary.

    Setup:
        ```bash
        pip install "langchain-spec-thinking[huggingface]"   # the extra is for local models
        ```

    Key init args:
        speculative: The small model: a backend, any chat model, or the name of one (`backends.specs.backend_of`).
        target: The large model, likewise.
        policy: When the target takes over, and for how long.
        answer_by: Who writes the answer once the thought is closed.
        max_tokens: Limit of thought and answer together.

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
        ```

    Stream:
        ```python
        for chunk in model.stream("What is 17 * 23?"):
            print(chunk.text, end="")
        ```
        Text that was streamed is never taken back.

    Async:
        ```python
        message = await model.ainvoke("What is 17 * 23?")
        ```

    Token usage:
        `message.usage_metadata` is logical: the prompt once, and the tokens kept. What each model was paid for is in
        the response metadata.

    Response metadata:
        ```python
        message.response_metadata["speculative_thinking"]["takeovers"]
        ```
        holds segments (author, channel, kind, characters, tokens, cue, seconds), takeovers, target share, and the usage
        of each model.
    """

    speculative: Backend
    """The small model; it writes most of the turn."""
    target: Backend
    """The large model; it takes over at chosen moments."""
    policy: DelegationPolicy = Field(default_factory=DelegationPolicy)
    """When the target takes over. `DelegationPolicy.non_reasoning()` for a speculative model that does not reason."""
    answer_by: Literal["speculative", "target"] = "speculative"
    """Who writes the answer once the thought is closed."""
    think_before_tools: bool = True
    """Whether turns that have tools reason first, together. Otherwise `answer_by` answers or calls at once."""
    on_target_failure: OnTargetFailure = "continue"
    """What to do when the target fails for good: go on without it (the report says so), or raise."""
    draft_verification: DraftVerification = "replaced"
    """Which drafts of the small model a local large one checks in one pass, keeping what it would have written itself:
    those that takeovers replace (`"replaced"`), also such as a local small one writes ahead for it inside a takeover
    (`"ahead"`, which pays where the models are of one family and far apart in size), or none (`"off"`)."""
    prefetch: Literal["off", "auto", "on"] = "off"
    """Whether the large model reads the text at each blank line while the small one writes the sentence after it, so
    that a takeover begins at once. A local one does so in a thread, a server is asked for one token at each of them.
    `"auto"`: where that is free, on one's own network or on another device than the small model's."""
    max_tokens: int = Field(default=2048, ge=1)
    """The most to write, thought and answer together, in tokens of whoever writes."""
    temperature: float | None = Field(default=0.6, ge=0)
    """0 is greedy; None leaves it to each model. The default is the paper's."""
    top_p: float | None = Field(default=0.95, gt=0, le=1)
    """Nucleus sampling; None leaves it to each model. The default is the paper's."""
    top_k: int | None = Field(default=None, ge=1)
    """Sample among the k most likely tokens; None leaves it to each model. Not every server takes it."""
    seed: int | None = None
    """For reproducible sampling, where the engines can."""
    timeout: float | None = Field(default=None, gt=0)
    """How long a turn may take, in seconds; then it is an error that carries the text so far. None: as it takes."""
    stop: list[str] | None = None
    """Strings that end the answer. They are looked for in the answer alone, not in the thought, and left out of it."""

    @field_validator("speculative", "target", mode="before")
    @classmethod
    def _as_backend(cls, value: object) -> object:
        if isinstance(value, str):
            return backend_of(value)
        if isinstance(value, BaseChatModel) and not isinstance(value, ChatSpeculativeThinking):
            return ChatModelBackend(value)
        if not isinstance(value, Backend):
            known = "HuggingFaceBackend, OpenAIBackend, ChatModelBackend"
            msg = f"expected a backend ({known}), a chat model or the name of one, got {type(value).__name__}"
            raise ValueError(msg)  # noqa: TRY004 - pydantic adds the field's name to a ValueError only
        return value

    @model_validator(mode="after")
    def _require_logprobs(self) -> ChatSpeculativeThinking:
        needed, given = self.policy.trigger.top_logprobs, self.speculative.top_logprobs_max
        if needed > given:
            trigger = type(self.policy.trigger).__name__
            msg = (
                f"policy: {trigger} needs the log-probabilities of the {needed} likeliest tokens from the speculative "
                f"model, and {self.speculative!r} gives {f'{given} at most' if given else 'none'}. Take a "
                "HuggingFaceBackend, an OpenAIBackend for a server that gives them, or another trigger."
            )
            raise ValueError(msg)
        return self

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_list(cls, value: str | Sequence[str] | None) -> list[str] | None:
        return None if value is None else list(_stop_strings(value))

    @classmethod
    def pocket(cls, **settings: Any) -> ChatSpeculativeThinking:
        """Return a pair of tiny models that come with the package: nothing is downloaded, no GPU is needed.

        They solve word problems such as `langchain_spec_thinking.pocket.problems()` gives, and nothing else. Greedy
        unless `temperature` says otherwise.

        Args:
            **settings: Fields that are to differ.

        Raises:
            ImportError: The extra `[huggingface]` is not installed.
        """
        from langchain_spec_thinking import pocket  # noqa: PLC0415 - few need it

        pair = {"speculative": pocket.speculative(), "target": pocket.target()}
        return cls(**{**pair, "temperature": 0, **settings})

    # -- what LangChain calls

    @property
    def _llm_type(self) -> str:
        return "speculative-thinking"

    @property
    def model_name(self) -> str:
        """Both models' names."""
        return f"{self.speculative.name} + {self.target.name}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """Every setting that changes the output; a cache tells models apart by it."""
        settings = {
            name: getattr(self, name)
            for name in ("answer_by", "think_before_tools", "on_target_failure", "stop", *sorted(_PER_CALL))
        }
        return {
            "model_name": self.model_name,
            "speculative": self.speculative.describe(),
            "target": self.target.describe(),
            "policy": {**asdict(self.policy), "trigger": repr(self.policy.trigger)},  # `asdict` forgets classes
            **settings,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "spec-thinking"
        return params

    def get_num_tokens(self, text: str) -> int:
        """Count the tokens of a text as the speculative model does."""
        return self.speculative.count_tokens(text)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run = self.new_run(messages, stop, **kwargs)
        return generate_from_stream(self._chunks(joined(drive_with_callbacks(run, self._heard_by(run_manager))), run))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run = self.new_run(messages, stop, **kwargs)
        deltas = [delta async for delta in adrive_with_callbacks(run, self._aheard_by(run_manager))]
        return generate_from_stream(self._chunks(joined(deltas), run))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        run = self.new_run(messages, stop, **kwargs)
        with closing(drive_with_callbacks(run, self._heard_by(run_manager))) as deltas:
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
        async with aclosing(adrive_with_callbacks(run, self._aheard_by(run_manager))) as deltas:
            async for delta in deltas:
                chunk = chunk_of(delta, thinks=run.turn.thinks)
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        chunk = self._last_chunk(run)
        if run_manager:
            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        yield chunk

    # -- tools and forms

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call tools. The pair reasons together; then `answer_by` writes answer and calls, whole.

        Args:
            tools: Functions, pydantic classes, JSON schemas, LangChain tools.
            tool_choice: `"auto"`, `"none"`, `"any"` (some tool must be called), or a tool's name.
            parallel_tool_calls: Whether several calls may be made at once; None leaves it to the engine.
            strict: Whether arguments must satisfy the schema, for engines that can see to it.
            **kwargs: Bound too, for example `response_format`.

        Raises:
            ValueError: A tool is no function, or the choice is none of the tools.
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
        """Return a model that answers in a form.

        Args:
            schema: A pydantic class, a TypedDict, or a JSON schema.
            method: `"json_schema"`: the engine holds the answer to the schema, where it can; `"function_calling"`: the
                form is a tool that must be called; `"json_mode"`: any JSON, the prompt says which.
            include_raw: Return a dict of `raw`, `parsed` and `parsing_error` instead of raising.
            strict: Passed on to engines that tell strict schemas from others.
            **kwargs: None are known.

        Raises:
            ValueError: There is no such method or argument.
        """
        if kwargs:
            msg = f"{', '.join(sorted(kwargs))}: not an argument of with_structured_output"
            raise ValueError(msg)
        return structured(self, schema, method=method, include_raw=include_raw, strict=strict)

    def _resolve_model_profile(self) -> ModelProfile:
        """Say what the pair can do: what both can read, what the answering model can write."""
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
        contexts = [context for backend in (self.speculative, self.target) if (context := backend.context)]
        if contexts:
            profile["max_input_tokens"] = min(contexts)
        return profile

    # -- a turn

    def new_run(self, messages: Sequence[BaseMessage], stop: Sequence[str] | None = None, **overrides: Any) -> Run:
        """Set up a turn, for `drivers.drive`: text with its authors, outside of LangChain's messages.

        Args:
            messages: The conversation.
            stop: Strings that end the answer; None for those of the model.
            **overrides: Settings for this turn: `max_tokens`, `temperature`, `top_p`, `top_k`, `seed`; and what was
                bound: `tools`, `tool_choice`, `parallel_tool_calls`, `response_format`.

        Raises:
            ValueError: A message or a setting cannot be used.
        """
        bound = {name: overrides.pop(name) for name in BOUND if name in overrides}
        tools, schema = tools_of(bound), schema_of(bound)
        settings = self._settings(overrides)
        max_tokens = settings.pop("max_tokens")
        stops = _stop_strings(self.stop if stop is None else stop)
        thinks = (self.speculative.thinks or self.target.thinks) and (tools is None or self.think_before_tools)
        turn = Turn(history_of(messages), thinks=thinks, tools=tools, schema=schema)
        of_machine = {
            "thinks": thinks,
            "answer_by": self.answer_by,
            "max_tokens": max_tokens,
            "stop": stops,
            "structured_answer": turn.structured_answer,
        }
        recorder = current_recorder()
        new = recorder.new_run(self._identifying_params, of_machine, self.policy) if recorder else Run
        return new(
            turn,
            Delegation(self.policy, **of_machine),
            {"speculative": self.speculative, "target": self.target},
            Request(max_tokens, stop=stops, **settings),
            self.on_target_failure,
            self.policy.budget,
            self.timeout,
            self.draft_verification,
            prefetch=self.prefetch == "on" or (self.prefetch == "auto" and self._prefetch_is_free),
        )

    @property
    def _prefetch_is_free(self) -> bool:
        return self.target.prefetch_is_free(beside=self.speculative)

    def _settings(self, overrides: dict[str, Any]) -> dict[str, Any]:
        unknown = overrides.keys() - _PER_CALL - {"stream"}
        if unknown:
            msg = f"{', '.join(sorted(unknown))}: not a setting of a call; expected {', '.join(sorted(_PER_CALL))}"
            raise ValueError(msg)
        settings = {name: overrides.get(name, getattr(self, name)) for name in _PER_CALL}
        if overrides:  # hold what a call asks for to the same rules as the fields
            pair = {"speculative": self.speculative, "target": self.target}
            checked = ChatSpeculativeThinking.model_validate({**pair, **settings})
            settings = {name: getattr(checked, name) for name in _PER_CALL}
        return settings

    def _chunks(self, deltas: Iterable[Delta], run: Run) -> Iterator[ChatGenerationChunk]:
        for delta in deltas:
            yield chunk_of(delta, thinks=run.turn.thinks)
        yield self._last_chunk(run)

    def _last_chunk(self, run: Run) -> ChatGenerationChunk:
        prompt = run.report.prompt_tokens
        if prompt is None:
            prompt = sum(self.get_num_tokens(message.content) for message in run.turn.history)
        return last_chunk(run, model_name=self.model_name, prompt_tokens=prompt)


def _stop_strings(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    strings = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if not all(isinstance(string, str) and string for string in strings):
        msg = f"stop: expected non-empty strings, got {strings!r}"
        raise ValueError(msg)
    return strings

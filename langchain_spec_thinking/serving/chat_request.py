"""The body of a request in the form of OpenAI's chat completions, and its conversion to LangChain's messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from langchain_spec_thinking.serving.request_fields import (
    ArgumentsText,
    Content,
    EarlierCall,
    FunctionDefinition,
    ModelRequest,
    Temperature,
    TopP,
    assistant_message,
)
from langchain_spec_thinking.stop_strings import STOP_CHARACTERS_MAX, STOP_STRINGS_MAX

_SETTINGS = ("seed", "stop", "response_format")
"""Further fields that the chat model takes unchanged."""
_SEEDS = 2**62
"""The chat model accepts seeds from 0 up to this number minus 1."""
StopString = Annotated[str, Field(min_length=1, max_length=STOP_CHARACTERS_MAX)]
"""A string that the chat model accepts as a stop string."""


def _text_block(content: object) -> object:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _list(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


def _model_seed(seed: int) -> int:
    """Return the seed for the chat model. OpenAI allows more seeds, also negative ones."""
    return seed % _SEEDS


def _tool_name(choice: object) -> object:
    match choice:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
        case None | str():
            return choice
    msg = 'expected "auto", "none", "required", or {"type": "function", "function": {"name": NAME}}'
    raise ValueError(msg)


class ContentBlock(BaseModel):
    """A part of a message. The chat model decides which types it can read."""

    type: str
    text: str = ""

    @model_validator(mode="after")
    def _require_text(self) -> ContentBlock:
        if self.type == "text" and "text" not in self.model_fields_set:
            msg = "a block of the type `text` needs the field `text`"
            raise ValueError(msg)
        return self


class CalledFunction(BaseModel):
    """A function and the arguments that a model wrote."""

    name: str
    arguments: ArgumentsText


class RequestedCall(BaseModel):
    """A tool call of an earlier message."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(BaseModel):
    """A message of the conversation. Unknown fields are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[list[ContentBlock] | None, BeforeValidator(_text_block)] = None
    tool_calls: list[RequestedCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _require_fields(self) -> ChatMessage:
        if self.content is None and self.role != "assistant":
            msg = f"a message with the role `{self.role}` needs the field `content`"
            raise ValueError(msg)
        if self.tool_call_id is None and self.role == "tool":
            msg = "a message with the role `tool` needs the field `tool_call_id`"
            raise ValueError(msg)
        return self

    def to_langchain(self) -> BaseMessage:
        """Return the message as a message of LangChain."""
        match self.role:
            case "user":
                return HumanMessage(self._content)
            case "assistant":
                calls = [(call.id, call.function) for call in self.tool_calls or []]
                return assistant_message(
                    self._content,
                    [EarlierCall(id=id_, name=called.name, arguments=called.arguments) for id_, called in calls],
                )
            case "tool":
                return ToolMessage(self._content, tool_call_id=self.tool_call_id or "")
            case "system" | "developer":
                return SystemMessage(self._content)

    @property
    def _content(self) -> Content:
        blocks = self.content or []
        if all(block.type == "text" for block in blocks):
            return "".join(block.text for block in blocks)
        return [block.model_dump() for block in blocks]


class ToolDefinition(BaseModel):
    """A tool that the model may call."""

    type: Literal["function"]
    function: FunctionDefinition


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool = False


class ChatRequest(ModelRequest):
    """The body of a request for a chat completion."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), AfterValidator(_model_seed)] | None = None
    stop: Annotated[list[StopString] | None, Field(max_length=STOP_STRINGS_MAX), BeforeValidator(_list)] = None
    tools: list[ToolDefinition] | None = None
    tool_choice: Annotated[str | None, BeforeValidator(_tool_name)] = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None

    @property
    def tokens(self) -> int | None:
        """Most tokens to write, from either of the two fields."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def conversation_parts(self) -> list[ChatMessage]:
        """The messages."""
        return self.messages

    @property
    def functions(self) -> list[FunctionDefinition]:
        """The functions that the model may call."""
        return [tool.function for tool in self.tools or []]

    def to_langchain(self) -> list[BaseMessage]:
        """Return the conversation as messages of LangChain."""
        return [message.to_langchain() for message in self.messages]

    def more_settings(self) -> dict[str, Any]:
        """Return the fields that the chat model takes unchanged."""
        return {name: getattr(self, name) for name in _SETTINGS}

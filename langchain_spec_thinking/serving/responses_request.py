"""The body of a request in the form of OpenAI's Responses API, and its conversion to LangChain's messages."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from langchain_spec_thinking.serving.errors import ITEM_TAG, RefusedError
from langchain_spec_thinking.serving.request_fields import (
    ArgumentsText,
    EarlierCall,
    FunctionDefinition,
    ModelRequest,
    Temperature,
    TopP,
    assistant_message,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from langchain_spec_thinking.serving.limits import Limits


def _text_parts(content: object) -> object:
    return [{"type": "input_text", "text": content}] if isinstance(content, str) else content


class TextPart(BaseModel):
    """A part of a message or of a result. The models read only text."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class RefusalPart(BaseModel):
    """A part of a reply in which a model refused to answer."""

    type: Literal["refusal"]
    refusal: str

    @property
    def text(self) -> str:
        """The text of the part."""
        return self.refusal


def _kind_of_part(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    return f"{ITEM_TAG}refusal" if kind == "refusal" else f"{ITEM_TAG}text"


Part = Annotated[
    Annotated[TextPart, Tag(f"{ITEM_TAG}text")] | Annotated[RefusalPart, Tag(f"{ITEM_TAG}refusal")],
    Discriminator(_kind_of_part),
]
Parts = Annotated[list[Part], BeforeValidator(_text_parts)]


def _joined(parts: Iterable[TextPart | RefusalPart]) -> str:
    return "".join(part.text for part in parts)


class MessageItem(BaseModel):
    """A message of the conversation. Unknown fields are ignored."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Parts


class FunctionCallItem(BaseModel):
    """A call of a function in an earlier reply."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: ArgumentsText


class FunctionResultItem(BaseModel):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: Parts


class ReasoningText(BaseModel):
    """A part of a thought."""

    text: str


class ReasoningItem(BaseModel):
    """The thought of an earlier reply. Only services that want it back get it."""

    type: Literal["reasoning"]
    summary: list[ReasoningText] = []
    content: list[ReasoningText] | None = None


_KINDS = ("message", "function_call", "function_call_output", "reasoning")


def _kind_of_item(item: object) -> str | None:
    """Return the type of an item. A message needs no type."""
    kind = item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", "message")
    return f"{ITEM_TAG}{kind}" if kind in _KINDS else None


Item = Annotated[
    Annotated[MessageItem, Tag(f"{ITEM_TAG}message")]
    | Annotated[FunctionCallItem, Tag(f"{ITEM_TAG}function_call")]
    | Annotated[FunctionResultItem, Tag(f"{ITEM_TAG}function_call_output")]
    | Annotated[ReasoningItem, Tag(f"{ITEM_TAG}reasoning")],
    Discriminator(
        _kind_of_item,
        custom_error_type="unknown_item",
        custom_error_message=f"expected an item of the type {', '.join(_KINDS[:-1])} or {_KINDS[-1]}",
    ),
]


def _as_items(given: object) -> object:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


class FunctionTool(FunctionDefinition):
    """A function that the model may call."""

    type: Literal["function"]


def _own_function(tool: object) -> object:
    if isinstance(tool, dict) and tool.get("type") != "function":
        msg = "expected a tool of the type `function`, because this server has no tools of its own"
        raise ValueError(msg)
    return tool


class TextFormat(BaseModel):
    """The form of the answer."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _require_schema(self) -> TextFormat:
        if self.type == "json_schema" and (self.name is None or self.json_schema is None):
            msg = "expected the fields `name` and `schema` for the type `json_schema`"
            raise ValueError(msg)
        return self

    def response_format(self) -> dict[str, Any] | None:
        """Return the form as the chat model takes it. None: any text."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "json_object"}
        schema = {
            "name": self.name,
            "description": self.description,
            "schema": self.json_schema,
            "strict": self.strict,
        }
        return {
            "type": "json_schema",
            "json_schema": {name: value for name, value in schema.items() if value is not None},
        }


class TextOptions(BaseModel):
    """Options of the answer."""

    format: TextFormat | None = None


def _tool_name(choice: object) -> object:
    match choice:
        case {"type": "function", "name": str(name)}:
            return name
        case None | str():
            return choice
    msg = 'expected "auto", "none", "required", or {"type": "function", "name": NAME}'
    raise ValueError(msg)


def _without_logprobs(include: object) -> object:
    if isinstance(include, list) and "message.output_text.logprobs" in include:
        msg = "this server returns no log-probabilities"
        raise ValueError(msg)
    return include


_CONVERSATION = "Send the whole conversation in `input`, because this server stores no replies."
_NOT_HELD = {
    "previous_response_id": ("previous_response_not_found", _CONVERSATION),
    "conversation": ("unsupported_parameter", _CONVERSATION),
    "background": ("unsupported_parameter", "Wait for the reply, or stream it, because this server stores no replies."),
    "prompt": (
        "unsupported_parameter",
        "Send the text in `instructions` and `input`, because this server has no prompts.",
    ),
}
"""Fields that this server does not support, each with its error."""


class ResponsesRequest(ModelRequest):
    """The body of a request for a response.

    `store` may be true, as it is by default in OpenAI's API, but nothing is stored, and the response says so.
    """

    own_names: ClassVar[Mapping[str, str]] = {
        "messages": "input",
        "max_tokens": "max_output_tokens",
        "response_format": "text",
    }

    input: Annotated[list[Item], Field(min_length=1), BeforeValidator(_as_items)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    tools: list[Annotated[FunctionTool, BeforeValidator(_own_function)]] | None = None
    tool_choice: Annotated[str | None, BeforeValidator(_tool_name)] = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    metadata: dict[str, str] | None = None
    include: Annotated[list[str] | None, BeforeValidator(_without_logprobs)] = None
    top_logprobs: Literal[0] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    prompt: Any = None

    @property
    def tokens(self) -> int | None:
        """Most tokens to write."""
        return self.max_output_tokens

    @property
    def conversation_parts(self) -> list[MessageItem | FunctionCallItem | FunctionResultItem | ReasoningItem]:
        """The items of the input."""
        return self.input

    @property
    def functions(self) -> list[FunctionDefinition]:
        """The functions that the model may call."""
        return [FunctionDefinition(**tool.model_dump(exclude={"type"})) for tool in self.tools or []]

    def require(self, limits: Limits) -> None:
        """Refuse a request that is too large, or that needs stored replies.

        Raises:
            RefusedError: The request cannot be answered.
        """
        for field, (code, message) in _NOT_HELD.items():
            if getattr(self, field):
                raise RefusedError(400, f"{field}: {message}", code=code, param=field)
        super().require(limits)

    def to_langchain(self) -> list[BaseMessage]:
        """Return the conversation as messages of LangChain."""
        instructions = [SystemMessage(self.instructions)] if self.instructions else []
        return [*instructions, *self._messages()]

    def _messages(self) -> Iterator[BaseMessage]:
        """Yield the messages. The parts of an earlier reply are items of their own, and become one message."""
        for of_reply, items in groupby(self.input, _belongs_to_reply):
            if of_reply:
                yield _earlier_reply(list(items))
                continue
            for item in items:
                if isinstance(item, FunctionResultItem):
                    yield ToolMessage(_joined(item.output), tool_call_id=item.call_id)
                elif isinstance(item, MessageItem):
                    message = HumanMessage if item.role == "user" else SystemMessage
                    yield message(_joined(item.content))

    def more_settings(self) -> dict[str, Any]:
        """Return the form of the answer."""
        form = self.text.format if self.text else None
        return {"response_format": form and form.response_format()}


def _belongs_to_reply(item: object) -> bool:
    return isinstance(item, (FunctionCallItem, ReasoningItem)) or getattr(item, "role", None) == "assistant"


def _earlier_reply(items: list[MessageItem | FunctionCallItem | FunctionResultItem | ReasoningItem]) -> BaseMessage:
    texts = [_joined(item.content) for item in items if isinstance(item, MessageItem)]
    calls = [
        EarlierCall(id=item.call_id, name=item.name, arguments=item.arguments)
        for item in items
        if isinstance(item, FunctionCallItem)
    ]
    thoughts = [part.text for item in items if isinstance(item, ReasoningItem) for part in item.content or item.summary]
    return assistant_message("\n\n".join(texts), calls, "\n\n".join(thoughts))

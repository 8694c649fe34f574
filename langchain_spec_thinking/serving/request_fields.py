"""The fields that the bodies of requests of both APIs have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import from_json

from langchain_spec_thinking.serving.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_spec_thinking.serving.limits import Limits

_SETTINGS = ("temperature", "top_p", "tool_choice", "parallel_tool_calls")
"""Fields of every body that the chat model takes unchanged."""
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
Content = str | list[str | dict[str, Any]]
"""The content of a message of LangChain."""


def _arguments_text(arguments: object) -> object:
    return json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else arguments


ArgumentsText = Annotated[str, BeforeValidator(_arguments_text)]
"""The arguments of a call, as any text that a model wrote. An object becomes JSON."""


class FunctionDefinition(BaseModel):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class EarlierCall(BaseModel):
    """A call of a function in an earlier reply."""

    id: str
    name: str
    arguments: str

    def parsed_arguments(self) -> dict[str, Any] | None:
        """Return the arguments as data. None if they are not a JSON object, or are nested too deeply."""
        try:
            arguments = from_json(self.arguments, allow_inf_nan=False)
        except ValueError:
            return None
        return arguments if isinstance(arguments, dict) else None


def assistant_message(content: Content, calls: Iterable[EarlierCall], reasoning: str = "") -> AIMessage:
    """Return an earlier reply as a message of LangChain.

    Args:
        content: Its text.
        calls: Its calls. The model sees arguments that cannot be parsed as it wrote them.
        reasoning: Its thought. Only services that want it back get it.
    """
    valid, invalid = [], []
    for call in calls:
        arguments = call.parsed_arguments()
        if arguments is None:
            invalid.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error="not a JSON object")
            )
        else:
            valid.append(tool_call(name=call.name, args=arguments, id=call.id))
    more = {"reasoning_content": reasoning} if reasoning else {}
    return AIMessage(content, tool_calls=valid, invalid_tool_calls=invalid, additional_kwargs=more)


class ModelRequest(BaseModel):
    """The body of a request. Unknown fields are ignored. Known fields with unsupported values are refused.

    Attributes:
        own_names: The names of the chat model's settings in this body, if they differ.
    """

    own_names: ClassVar[Mapping[str, str]] = {}

    model: str
    stream: bool | None = None

    @classmethod
    def field_of(cls, setting: str) -> str | None:
        """Return the field of this body that holds a setting of the chat model. None: no field does."""
        name = cls.own_names.get(setting, setting)
        return name if name in cls.model_fields else None

    @property
    def tokens(self) -> int | None:
        """Most tokens to write."""
        raise NotImplementedError

    @property
    def conversation_parts(self) -> Sequence[object]:
        """The messages or items of the conversation."""
        raise NotImplementedError

    @property
    def functions(self) -> list[FunctionDefinition]:
        """The functions that the model may call."""
        raise NotImplementedError

    def to_langchain(self) -> list[BaseMessage]:
        """Return the conversation as messages of LangChain."""
        raise NotImplementedError

    def more_settings(self) -> dict[str, Any]:
        """Return the settings for the chat model that only this API has. None: not chosen."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Return the settings that the caller chose for the chat model, except the token limit."""
        tools = [
            {"type": "function", "function": function.model_dump(exclude_none=True)} for function in self.functions
        ]
        unchanged = {name: getattr(self, name) for name in _SETTINGS}
        chosen = {**unchanged, "tools": tools or None, **self.more_settings()}
        return {name: value for name, value in chosen.items() if value is not None}

    def require(self, limits: Limits) -> None:
        """Refuse a request that is too large.

        Raises:
            RefusedError: The request has too many messages or tools, or asks for too many tokens.
        """
        counts = {"messages": (len(self.conversation_parts), limits.messages)}
        counts["tools"] = (len(self.functions), limits.tools)
        for setting, (count, limit) in counts.items():
            if count > limit:
                field = self.field_of(setting)
                msg = f"{field}: expected at most {limit}, got {count}"
                raise RefusedError(400, msg, code="array_above_max_length", param=field)
        if self.tokens and self.tokens > limits.tokens:
            field = self.field_of("max_tokens")
            msg = f"{field}: expected at most {limits.tokens}, got {self.tokens}"
            raise RefusedError(400, msg, code="max_tokens_exceeded", param=field)

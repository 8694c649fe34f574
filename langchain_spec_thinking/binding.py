"""Conversion of what callers bind to a model (tools and schemas of the answer) from LangChain's terms to a turn's."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_spec_thinking.json_values import json_text
from langchain_spec_thinking.tools import Tools

if TYPE_CHECKING:
    from collections.abc import Sequence

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool
Method = Literal["json_schema", "function_calling", "json_mode"]

BINDABLE = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
"""Arguments that a call accepts besides the settings of a turn."""
_CHOICES = {"auto", "none", "required"}


def bound_tools(
    tools: Sequence[Tool],
    *,
    tool_choice: str | bool | dict[str, Any] | None,
    parallel_tool_calls: bool | None,
    strict: bool | None,
) -> dict[str, Any]:
    """Return the arguments that `bind_tools` binds, in the format of OpenAI's API.

    Raises:
        ValueError: A tool is not a function, or `tool_choice` names none of the tools.
    """
    schemas = [_schema(tool, strict) for tool in tools]
    bound: dict[str, Any] = {"tools": schemas}
    names = [schema["function"]["name"] for schema in schemas]
    if tool_choice is not None and names:
        bound["tool_choice"] = _choice(tool_choice, names)
    if parallel_tool_calls is not None:
        bound["parallel_tool_calls"] = parallel_tool_calls
    return bound


def tools_of(call: dict[str, Any]) -> Tools | None:
    """Return the tools of a call, or None if the call has no tools."""
    schemas = [_schema(tool, None) for tool in call.get("tools") or ()]
    if not schemas:
        return None
    json_text("tools", schemas)
    names = [schema["function"]["name"] for schema in schemas]
    choice = call.get("tool_choice")
    return Tools(tuple(schemas), "auto" if choice is None else _choice(choice, names), call.get("parallel_tool_calls"))


def schema_of(call: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema that the answer of a call must satisfy.

    Returns:
        A `json_schema`, an empty dict for any JSON object, or None for text.

    Raises:
        ValueError: `response_format` is not in a format of OpenAI's API.
    """
    requested = call.get("response_format")
    json_text("response_format", requested)
    match requested:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {}
        case {"type": "json_schema", "json_schema": {"schema": {}}}:
            return dict(requested["json_schema"])
    msg = f"response_format: expected a json_schema or json_object in the format of OpenAI's API, got {requested!r}"
    raise ValueError(msg)


def structured(
    model: Any,  # noqa: ANN401 - the chat model, of which only `bind` and `bind_tools` are used
    schema: dict[str, Any] | type,
    *,
    method: Method,
    include_raw: bool,
    strict: bool | None,
) -> Runnable[Any, Any]:
    """Return a model whose answers are parsed.

    Raises:
        ValueError: The method is unknown.
    """
    # `is_basemodel_subclass` does not tell type checkers that the schema is a class of pydantic.
    model_class: Any = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    tracing_kwargs = {"ls_structured_output_format": {"kwargs": {"method": method, "strict": strict}, "schema": schema}}
    parser: Any
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        bound = model.bind_tools([schema], tool_choice=name, parallel_tool_calls=False, strict=strict, **tracing_kwargs)
        parser = (
            PydanticToolsParser(tools=[model_class], first_tool_only=True)
            if model_class
            else JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        )
    elif method in {"json_schema", "json_mode"}:
        bound = model.bind(response_format=response_format(schema, method, strict), **tracing_kwargs)
        parser = PydanticOutputParser(pydantic_object=model_class) if model_class else JsonOutputParser()
    else:
        msg = f"method: expected json_schema, function_calling or json_mode, got {method!r}"
        raise ValueError(msg)
    if not include_raw:
        return bound | parser  # type: ignore[no-any-return]
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def response_format(schema: dict[str, Any] | type, method: Method, strict: bool | None) -> dict[str, Any]:  # noqa: FBT001 - as in `structured`
    """Return `response_format` in the format of OpenAI's API."""
    if method == "json_mode":
        return {"type": "json_object"}
    if isinstance(schema, dict) and schema.get("type") == "json_schema":
        return schema
    converted = convert_to_json_schema(schema)
    named: dict[str, Any] = {"name": converted.get("title") or "answer", "schema": converted}
    return {"type": "json_schema", "json_schema": named | ({} if strict is None else {"strict": strict})}


def _schema(tool: Tool, strict: bool | None) -> dict[str, Any]:  # noqa: FBT001 - as in `bound_tools`
    schema = convert_to_openai_tool(tool, strict=strict)
    if schema.get("type") != "function" or "function" not in schema:
        msg = f"tools: expected functions, got {schema.get('type')!r}, a tool that only its provider can run"
        raise ValueError(msg)
    return schema


def _choice(choice: str | bool | dict[str, Any], names: Sequence[str]) -> str:  # noqa: FBT001 - LangChain's own type
    if isinstance(choice, dict):
        choice = str(choice.get("function", choice).get("name") or choice.get("type"))
    if isinstance(choice, bool):
        choice = "required" if choice else "none"
    choice = "required" if choice == "any" and "any" not in names else choice
    if choice not in _CHOICES and choice not in names:
        msg = f"tool_choice: expected auto, none, any or one of {', '.join(names)}, got {choice!r}"
        raise ValueError(msg)
    return choice

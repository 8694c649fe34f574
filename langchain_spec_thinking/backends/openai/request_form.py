"""The form in which one request is sent, which changes if the server refuses it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.backends.openai.refusals import (
    LIMIT_FIELD,
    NEW_LIMIT_FIELD,
    blamed_fields,
    is_refusal,
    is_too_long,
    refuses_limit,
    room_left,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_spec_thinking.backends.base import Request
    from langchain_spec_thinking.backends.openai.capabilities import ServerProfile
    from langchain_spec_thinking.backends.openai.refused_fields import Field
    from langchain_spec_thinking.backends.replies.continuation import Endpoint, Payload
    from langchain_spec_thinking.turn import Turn

_REPORTED = ("skip_special_tokens", "temperature", "top_p", "seed", "parallel_tool_calls", "response_format", "tools")
"""Fields that change what the model writes. A user wants to know if they are missing."""
_LIMIT_HALVED = 2048
"""A token limit of at least so many tokens is halved if the server refuses it."""


class RequestForm:
    """One request to a server: its strategy, and the fields that it omits because the server refuses them.

    What the server refuses this request for belongs to this request. If the request then succeeds, the profile learns
    from it for later requests.

    Args:
        profile: What is known about the server. The strategy must be known.
        turn: The turn to continue.
        request: Token limit, stop strings and sampling.
        extra: Further fields of the body that the user wants. They are never omitted.
        count_prompt: Estimates the tokens of the prompt. It is used if the request does not fit into the context, and
            the server does not say how many tokens the prompt leaves.
    """

    def __init__(
        self,
        profile: ServerProfile,
        turn: Turn,
        request: Request,
        extra: dict[str, Any],
        count_prompt: Callable[[], int],
    ) -> None:
        self._profile = profile
        self._turn = turn
        self._request = request
        self._extra = extra
        self._count_prompt = count_prompt
        self._limit_was_fitted = False  # the token limit is what the prompt leaves
        self._context: int | None = None  # the length that the server reported when it refused the request
        self._strategy = profile.strategy
        self._strategy_changed = False
        self._endpoint: Endpoint = "chat"
        self._wanted: dict[str, Any] = {}  # the fields of the request, with those that it omits
        self._output_max: int | None = None  # the token limit, after the server refused a larger one in any context
        self._omitted: frozenset[str] = frozenset()
        self._refused: dict[Field, Any] = {}  # the fields that this request was refused for, with their values
        self._suspects: frozenset[str] = frozenset()  # the fields that were omitted because of the last refusal
        self._innocent: frozenset[str] = frozenset()  # fields that did not help when they were omitted

    def build(self) -> tuple[Payload, dict[str, Any]]:
        """Return what to continue, and the arguments of the SDK's call."""
        payload, fields, own = self._fields(native_tools=True)
        if "tools" in self._omitted:  # then the prompt describes them, which may change the other fields
            tools = self._wanted["tools"]
            payload, fields, own = self._fields(native_tools=False)
            self._wanted["tools"] = tools
            self._omitted |= {"tools"}
        if LIMIT_FIELD in self._omitted or self._profile.engine.new_limit_field:
            fields.pop(LIMIT_FIELD, None)
            fields[NEW_LIMIT_FIELD] = self._wanted[LIMIT_FIELD]
        top_k = {"top_k": self._request.top_k} if self._request.top_k else {}
        further = {**self._extra, **own, **top_k}
        return payload, {**fields, "extra_body": further} if further else fields

    def change_after(self, error: Exception) -> None:
        """Change the form so that the server may accept the request. Raise the error if nothing can be changed.

        If the prompt leaves fewer tokens than requested, those are requested, once. If the server does not say how many
        it leaves, or refuses the token limit for another reason, the limit is halved. Fields that the server blames are
        omitted. If the server still blames them, they were not the reason, so they are sent again. If no field is left
        to blame, the next strategy is tried once.

        Args:
            error: What the SDK raised.
        """
        if is_too_long(error) and self._fit_limit(error):
            return
        if refuses_limit(error) and self._halve_limit(learns=not is_too_long(error)):
            return
        if not is_refusal(error):
            raise error
        sent = self._wanted.keys() - self._omitted - self._innocent
        if blamed_fields(error, sent | self._suspects) & self._suspects:
            self._innocent |= self._suspects
            self._refused = {field: value for field, value in self._refused.items() if field[1] not in self._suspects}
        self._suspects = blamed_fields(error, sent)
        self._refused |= {(self._endpoint, name): self._wanted[name] for name in self._suspects}
        if not self._suspects:
            self._change_strategy(error)

    def accepted(self) -> None:
        """Let later requests profit from what this request showed. The server has accepted it."""
        sent = {(self._endpoint, name) for name in self._wanted.keys() - self._omitted}
        self._profile.refused_fields.learn(sent, self._refused)
        if self._context is not None and self._profile.context is None:
            self._profile.context = self._context
        if self._output_max is not None:
            self._profile.output_max = self._output_max
        if self._strategy_changed and self._strategy:
            self._profile.strategy = self._strategy

    def limitations(self) -> Iterator[str]:
        """Yield what the user should know about the fields that are missing."""
        for name in _REPORTED:
            if name in self._omitted:
                instead = "the prompt describes the tools instead" if name == "tools" else "it was omitted"
                yield f"the server refuses the field `{name}`, so {instead}"

    def _fit_limit(self, error: Exception) -> bool:
        """Ask for the tokens that the prompt leaves, once. Return False if the error does not show a lower number.

        Raises:
            Exception: The error, if the prompt leaves no tokens.
        """
        tokens = self._wanted[LIMIT_FIELD]
        self._context, left = room_left(error, tokens, self._profile.context, self._count_prompt)
        if left is not None and left <= 0:
            raise error
        if self._limit_was_fitted or left is None or left >= tokens:
            return False
        self._limit_was_fitted = True
        self._request = replace(self._request, max_tokens=left, hidden_tokens=0)
        return True

    def _halve_limit(self, *, learns: bool) -> bool:
        """Halve the token limit, and return whether it was large enough for that.

        Args:
            learns: Whether later requests keep this limit. They do not if only this conversation is too long for it.
        """
        tokens = self._wanted[LIMIT_FIELD]
        if tokens < _LIMIT_HALVED:
            return False
        self._request = replace(self._request, max_tokens=tokens // 2, hidden_tokens=0)
        self._output_max = tokens // 2 if learns else self._output_max
        return True

    def _fields(self, *, native_tools: bool) -> tuple[Payload, dict[str, Any], dict[str, Any]]:
        """Return the payload, the fields that the SDK knows, and further fields, without those to omit."""
        payload = self._profile.payload(self._turn, self._strategy, native_tools=native_tools)
        fields = self._profile.body(payload, self._request)
        own = fields.pop("extra_body", {})
        self._endpoint = payload.endpoint
        self._wanted = {name: value for name, value in {**fields, **own}.items() if value is not None}
        self._omitted = frozenset(name for name, value in self._wanted.items() if self._omits(name, value))
        return payload, self._kept(fields), self._kept(own)

    def _kept(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name in self._wanted and name not in self._omitted}

    def _omits(self, name: str, value: object) -> bool:
        field = (self._endpoint, name)
        return name not in self._innocent and (
            field in self._refused or self._profile.refused_fields.refuses(field, value)
        )

    def _change_strategy(self, error: Exception) -> None:
        """Use the next strategy, with all fields. If another turn has changed the strategy meanwhile, use that one."""
        used, current, known = self._strategy, self._profile.strategy, self._profile.strategies
        below = known[known.index(used) + 1 :] if used in known else ()
        if self._strategy_changed or (used == current and not below):
            raise error
        self._strategy = current if used != current else below[0]
        self._strategy_changed = True
        self._refused, self._suspects, self._innocent = {}, frozenset(), frozenset()

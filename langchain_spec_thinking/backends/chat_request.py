"""The settings of one request to a chat model, which change if the model's server refuses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import ModelInvalidRequestError

from langchain_spec_thinking.backends.openai.refusals import blamed_fields, is_refusal, is_too_long

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.language_models.chat_models import BaseChatModel

    from langchain_spec_thinking.backends.base import Request
    from langchain_spec_thinking.backends.openai.refused_fields import Field, RefusedFields

REQUEST_TOKENS_MAX = 8192
"""Largest token limit that a chat model gets if its own limit is not larger. Services refuse what is too large."""
LIMITS = ("max_tokens", "max_output_tokens", "max_new_tokens", "num_predict")
"""Names of the field that limits the output tokens, in different chat model classes."""
_OPTIONAL = ("temperature", "top_p", "seed")
"""Settings that a request can omit. They are fields of the chat model, whose own value then applies."""
_CLASS_WITH_USER = "BaseChatOpenAI"
"""Name of the class whose models pass the argument `user` on to their servers."""


class ChatRequestForm:
    """One request to a chat model: its settings, without those that the server refuses.

    What the server refuses this request for belongs to this request. If the request then succeeds, later requests
    profit from it.

    Args:
        model: The chat model of the user. It stays as it is.
        request: Token limit, stop strings and sampling.
        known: What is known about the settings that the server refuses.

    Attributes:
        request: As given.
        own_model: The chat model of the user.
    """

    def __init__(self, model: BaseChatModel, request: Request, known: RefusedFields) -> None:
        self.own_model = model
        self.request = request
        self._known = known
        self._accepted = False
        self._refused: dict[Field, Any] = {}  # the settings that this request was refused for, with their values
        self._wanted = {name: getattr(request, name) for name in _OPTIONAL if name in type(model).model_fields}
        self._wanted["stop"] = list(request.stop) or None
        if any(parent.__name__ == _CLASS_WITH_USER for parent in type(model).__mro__):
            self._wanted["user"] = request.user
        self._wanted = {name: value for name, value in self._wanted.items() if value is not None}
        self._omitted = {name for name, value in self._wanted.items() if known.refuses(("chat", name), value)}

    @property
    def model(self) -> BaseChatModel:
        """The model with the settings of the request, as far as its class has fields for them."""
        request, sent = self.request, self._sent
        largest = request_tokens_max(self.own_model) or request.max_tokens
        settings: dict[str, Any] = dict.fromkeys(LIMITS, min(request.max_tokens, largest) + request.hidden_tokens)
        if request.top_k is not None:
            settings["top_k"] = request.top_k
        settings |= {name: sent[name] for name in _OPTIONAL if name in sent}
        fields = type(self.own_model).model_fields
        return self.own_model.model_copy(update={name: value for name, value in settings.items() if name in fields})

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the call."""
        sent = self._sent
        return {"stop": sent.get("stop"), **({"user": sent["user"]} if "user" in sent else {})}

    def change_after(self, error: Exception) -> None:
        """Omit the settings that the server blames, each of them once. Raise the error if it blames none.

        Args:
            error: What the chat model raised.
        """
        refused = not self._accepted and _is_refusal(error)
        blamed = blamed_fields(error, self._sent.keys()) if refused else frozenset()
        if not blamed:
            raise error
        self._omitted |= blamed
        self._refused |= {("chat", name): self._wanted[name] for name in blamed}

    def accepted(self) -> None:
        """Let later requests profit from what this request showed. The server has accepted it."""
        self._accepted = True
        self._known.learn([("chat", name) for name in self._sent], self._refused)

    def limitations(self) -> Iterator[str]:
        """Yield what the user should know about the settings that are missing."""
        for name in self._wanted:
            if name in self._omitted and name != "user":
                instead = "the stop strings are found here" if name == "stop" else "the chat model's own value applies"
                yield f"the server refuses the setting `{name}`, so it was omitted: {instead}"

    @property
    def _sent(self) -> dict[str, Any]:
        return {name: value for name, value in self._wanted.items() if name not in self._omitted}


def _is_refusal(error: Exception) -> bool:
    """Return whether the server refuses the form of a request. Some errors have a class of LangChain and no status."""
    return is_refusal(error) or (isinstance(error, ModelInvalidRequestError) and not is_too_long(error))


def takes_limit(model: BaseChatModel) -> bool:
    """Return whether the class of a model takes a limit of the output tokens."""
    return any(name in type(model).model_fields for name in LIMITS)


def request_tokens_max(model: BaseChatModel) -> int | None:
    """Return the largest token limit of a request. None if the class of the model takes no limit."""
    if not takes_limit(model):
        return None
    own = [limit for name in LIMITS if isinstance(limit := getattr(model, name, None), int)]
    return max([REQUEST_TOKENS_MAX, *own])

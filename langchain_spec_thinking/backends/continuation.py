"""Ways to ask an OpenAI-compatible server for the rest of a half-written turn. Pure: turns in, request bodies out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.templates import ChatTemplate
    from langchain_spec_thinking.turn import Turn

Continuation = Literal["auto", "raw", "chat_flag"]


@dataclass(frozen=True, slots=True)
class Payload:
    """What to send, and what the server may wrongly send back.

    Attributes:
        endpoint: Which of the two endpoints.
        body: The fields of the request that say what to continue.
        prefills: Texts that the model was given; a server that repeats one of them repeats no news.
        seam: White space at the end of what was given. A chat template may have cut it off, and the model may write it
            again.
    """

    endpoint: Literal["completions", "chat"]
    body: dict[str, Any]
    prefills: tuple[str, ...] = ()
    seam: str = ""


class Strategy(Protocol):
    """A way to continue a turn."""

    @property
    def name(self) -> Continuation:
        """What users call it."""

    def payload(self, turn: Turn) -> Payload:
        """Say what to send so that the model goes on where the turn ends."""


@dataclass(frozen=True)
class Raw:
    """`POST /completions` with a prompt rendered here. Exact wherever the server passes prompts through as they are.

    Served so by vLLM, SGLang, llama.cpp, transformers serve, TGI, Together, Fireworks; not by Ollama and LiteLLM, which
    wrap the prompt into a user message.
    """

    template: ChatTemplate
    name: Continuation = field(default="raw", init=False)

    def payload(self, turn: Turn) -> Payload:
        """Render the conversation and the reply so far as one prompt."""
        reply = self.template.quoted_reply_text(turn)
        prompt = self.template.prompt_text(turn.history, thinks=turn.thinks) + reply
        return Payload("completions", {"prompt": prompt}, prefills=(prompt, reply))


@dataclass(frozen=True)
class ChatFlag:
    """`POST /chat/completions` with the reply so far as last message, and the flag of vLLM that leaves it open.

    For servers whose tokenizer is not at hand here. A turn that nobody has begun is an ordinary chat request.
    """

    name: Continuation = field(default="chat_flag", init=False)

    def payload(self, turn: Turn) -> Payload:
        """Send the conversation with the reply so far as an open last message."""
        messages: list[dict[str, str]] = [{"role": m.role, "content": m.content} for m in turn.history]
        if not turn.spans and not turn.closing and not turn.pending:
            return Payload("chat", {"messages": messages})
        reply = turn.body()
        messages.append({"role": "assistant", "content": reply})
        flags = {"continue_final_message": True, "add_generation_prompt": False}
        seam = reply[len(reply.rstrip()) :]
        return Payload("chat", {"messages": messages, "extra_body": flags}, prefills=(reply,), seam=seam)

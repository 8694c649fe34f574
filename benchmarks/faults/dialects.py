"""The dialects of streams: the events of known servers, byte for byte. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

Endpoint = Literal["completions", "chat"]
Part = Literal["thought", "text"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one server writes a stream.

    The events are recordings. In them, `@TEXT@` stands for the text as JSON, `@USAGE@` for the count of tokens so far
    if the client asked for it, and `@REASON@` for the finish reason.

    Attributes:
        name: The name of the server.
        strategies: The strategies to test with it, all of which the server supports. `"auto"` is the strategy that the
            package finds itself.
        text: An event with text.
        stop: The last event of the reply, with the finish reason.
        url: The address of a hosted service.
        owner: What the server reports as `owned_by` of its models.
        head: What comes before the first text.
        thought: An event with a part of a thought, if the server has a field for it. Without it, the thought is in the
            text, between think tags.
        thinks: Whether the model writes a thought.
        continues_in_field: Whether the rest of a thought comes in the field too, if the client sent its beginning as
            text.
        tail: What comes after the last event of the reply.
        completion: An event of the completions endpoint, with text and with a finish reason or null.
        counts_on_request: Whether the server counts the tokens in every chunk on request.
        repeats: Whether a client can know that the server repeats replies. Otherwise a repetition may be meant.
    """

    name: str
    strategies: tuple[str, ...]
    text: bytes
    stop: bytes
    url: str = ""
    owner: str = "unknown"
    head: bytes = b""
    thought: bytes = b""
    thinks: bool = True
    continues_in_field: bool = False
    tail: bytes = b"data: [DONE]\n\n"
    completion: bytes = b""
    counts_on_request: bool = False
    repeats: bool = False

    def event(self, endpoint: Endpoint, part: Part, text: str, number: int | None) -> bytes:
        """Return an event with a part of the output.

        Args:
            endpoint: The endpoint that the client called.
            part: Whether the text belongs to the thought.
            text: The text.
            number: Number of tokens so far. None: the client did not ask for it.
        """
        if endpoint == "completions":
            return _filled(self.completion, text, number, "null")
        return _filled(self.thought if part == "thought" else self.text, text, number, "null")

    def ending(self, endpoint: Endpoint, reason: str, number: int | None) -> list[bytes]:
        """Return the events after the last text."""
        event = self.completion if endpoint == "completions" else self.stop
        return [_filled(event, "", number, f'"{reason}"'), *_events(self.tail)]

    def beginning(self, endpoint: Endpoint) -> list[bytes]:
        """Return the events before the first text."""
        return [] if endpoint == "completions" else _events(_filled(self.head, "", 0, "null"))

    @property
    def address(self) -> str:
        """The address. Each server has its own, because clients remember what is at an address."""
        return self.url or f"http://{self.name.replace(' ', '-').lower()}.test/v1"

    @property
    def line_end(self) -> bytes:
        """The end of a line."""
        return b"\r\n" if self.text.endswith(b"\r\n\r\n") else b"\n"


def _filled(event: bytes, text: str, number: int | None, reason: str) -> bytes:
    usage = "null" if number is None else f'{{"prompt_tokens":9,"completion_tokens":{number}}}'
    values = {b"@TEXT@": json.dumps(text, ensure_ascii=False), b"@USAGE@": usage, b"@REASON@": reason}
    for name, value in values.items():
        event = event.replace(name, value.encode())
    return event


def _events(recorded: bytes) -> list[bytes]:
    """Split a recording into its events."""
    return [event for event in recorded.replace(b"\n\n", b"\n\n\0").split(b"\0") if event]


_USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12}}\n\ndata: [DONE]\n\n'

DIALECTS = (
    Dialect(
        "OpenAI",
        ("chat_instruct",),
        url="https://api.openai.com/v1",
        thinks=False,
        head=b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},'
        b'"finish_reason":null}],"usage":null,"obfuscation":"Kq"}\n\n',
        text=b'data: {"id":"c","choices":[{"index":0,"delta":{"content":@TEXT@},"finish_reason":null}],"usage":null,'
        b'"obfuscation":"x"}\n\n',
        stop=b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":@REASON@}],"usage":null}\n\n',
        tail=_USAGE,
    ),
    Dialect(
        "DeepSeek",
        ("chat_mark", "chat_instruct"),
        url="https://api.deepseek.com/beta",
        head=b": keep-alive\n\n"
        b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":""},'
        b'"finish_reason":null}]}\n\n',
        text=b'data: {"choices":[{"index":0,"delta":{"content":@TEXT@,"reasoning_content":null},"finish_reason":null}]}'
        b"\n\n",
        thought=b'data: {"choices":[{"index":0,"delta":{"content":null,"reasoning_content":@TEXT@},'
        b'"finish_reason":null}]}\n\n',
        stop=b'data: {"choices":[{"index":0,"delta":{"content":"","reasoning_content":null},"finish_reason":@REASON@}],'
        b'"usage":{"prompt_tokens":9,"completion_tokens":12,"prompt_cache_hit_tokens":0}}\n\n',
    ),
    Dialect(
        "Mistral",
        ("chat_mark",),
        url="https://api.mistral.ai/v1",
        repeats=True,
        head=b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
        b"\n\n",
        text=b'data: {"id":"c","choices":[{"index":0,"delta":{"content":@TEXT@},"finish_reason":null}]}\n\n',
        thought=b'data: {"id":"c","choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":'
        b'[{"type":"text","text":@TEXT@}]}]},"finish_reason":null}]}\n\n',
        stop=b'data: {"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":@REASON@}],'
        b'"usage":{"prompt_tokens":9,"completion_tokens":12}}\n\n',
    ),
    Dialect(
        "Kimi",
        ("chat_mark",),
        url="https://api.moonshot.ai/v1",
        thinks=False,
        head=b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
        text=b'data: {"choices":[{"index":0,"delta":{"content":@TEXT@},"finish_reason":null}]}\n\n',
        stop=b'data: {"choices":[{"index":0,"delta":{},"finish_reason":@REASON@,'
        b'"usage":{"completion_tokens":12}}]}\n\n',
    ),
    Dialect(
        "OpenRouter",
        ("chat_trailing",),
        url="https://openrouter.ai/api/v1",
        head=b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n",
        text=b'data: {"provider":"P","choices":[{"index":0,"delta":{"role":"assistant","content":@TEXT@},'
        b'"finish_reason":null}]}\n\n',
        thought=b'data: {"provider":"P","choices":[{"index":0,"delta":{"content":"","reasoning":@TEXT@},'
        b'"finish_reason":null}]}\n\n',
        stop=b'data: {"provider":"P","choices":[{"index":0,"delta":{"content":""},"finish_reason":@REASON@}]}\n\n',
        tail=_USAGE,
    ),
    Dialect(
        "Gemini",
        ("chat_trailing",),
        url="https://generativelanguage.googleapis.com/v1beta/openai",
        thinks=False,
        text=b'data: {"choices":[{"delta":{"content":@TEXT@,"role":"assistant"},"index":0}]}\r\n\r\n',
        stop=b'data: {"choices":[{"delta":{"role":"assistant"},"finish_reason":@REASON@,"index":0}]}\r\n\r\n',
        tail=b"data: [DONE]\r\n\r\n",
    ),
    Dialect(
        "vLLM",
        ("raw", "chat_flag"),
        owner="vllm",
        head=b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],'
        b'"usage":@USAGE@}\n\n',
        text=b'data: {"id":"c","choices":[{"index":0,"delta":{"content":@TEXT@},"finish_reason":null}],'
        b'"usage":@USAGE@}\n\n',
        thought=b'data: {"id":"c","choices":[{"index":0,"delta":{"reasoning":@TEXT@},"finish_reason":null}],'
        b'"usage":@USAGE@}\n\n',
        stop=b'data: {"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":@REASON@,'
        b'"stop_reason":null}],"usage":@USAGE@}\n\n',
        tail=_USAGE,
        completion=b'data: {"id":"c","choices":[{"index":0,"text":@TEXT@,"finish_reason":@REASON@}],'
        b'"usage":@USAGE@}\n\n',
        continues_in_field=True,
        counts_on_request=True,
    ),
    Dialect(
        "SGLang",
        ("chat_flag",),
        owner="sglang",
        text=b'data: {"choices":[{"index":0,"delta":{"role":null,"content":@TEXT@},'
        b'"finish_reason":null}],"usage":@USAGE@}\n\n',
        stop=b'data: {"choices":[{"index":0,"delta":{"role":null,"content":null},"finish_reason":@REASON@,'
        b'"matched_stop":1}],"usage":@USAGE@}\n\n',
        tail=_USAGE,
        completion=b'data: {"choices":[{"index":0,"text":@TEXT@,"finish_reason":@REASON@}],"usage":@USAGE@}\n\n',
        counts_on_request=True,
    ),
    Dialect(
        "llama.cpp",
        ("raw", "auto"),  # "auto" finds the flag, with the thought in its field
        owner="llamacpp",
        head=b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}]}\n\n',
        text=b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":@TEXT@}}]}\n\n',
        thought=b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"reasoning_content":@TEXT@}}]}\n\n',
        stop=b'data: {"choices":[{"finish_reason":@REASON@,"index":0,"delta":{}}],"timings":{"predicted_n":12}}\n\n',
        tail=_USAGE,
        completion=b'data: {"choices":[{"text":@TEXT@,"index":0,"finish_reason":@REASON@}]}\n\n',
    ),
    Dialect(
        "Ollama",
        ("chat_trailing",),
        owner="library",
        text=b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":@TEXT@},"finish_reason":null}]}\n\n',
        thought=b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":@TEXT@},'
        b'"finish_reason":null}]}\n\n',
        stop=b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":@REASON@}]}\n\n',
    ),
    Dialect(
        "transformers serve",
        ("auto",),  # it finds the flag, and whether the server repeats replies
        repeats=True,
        head=b'data: {"choices":[{"delta":{"role":"assistant"},"index":0}]}\n\n',
        text=b'data: {"choices":[{"delta":{"content":@TEXT@},"index":0}]}\n\n',
        stop=b'data: {"choices":[{"delta":{},"finish_reason":@REASON@,"index":0}]}\n\n',
        tail=b"",
        completion=b'data: {"choices":[{"text":@TEXT@,"finish_reason":@REASON@,"index":0}]}\n\n',
    ),
)
"""All dialects."""

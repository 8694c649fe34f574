"""Strategies that make a server continue a half-written turn. Pure: turns in, request bodies out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from langchain_spec_thinking.backends.replies.call_format import FREE_TEXT, AnswerPlan
from langchain_spec_thinking.backends.replies.echo import EchoFilter
from langchain_spec_thinking.backends.replies.tool_prompts import with_schema_prompt, with_tool_prompt
from langchain_spec_thinking.turn import THINK_CLOSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_spec_thinking.backends.replies.chat_templates import ChatTemplate
    from langchain_spec_thinking.backends.replies.thought_formats import ThoughtFormat
    from langchain_spec_thinking.turn import Turn

StrategyName = Literal["raw", "chat_flag", "chat_mark", "chat_trailing", "chat_instruct"]
"""The ways to continue a half-written turn, from the most exact one to an emulation by an instruction."""
Continuation = Literal["auto", StrategyName]
"""How a server is asked to continue a half-written turn. `"auto"`: the package finds a way that works."""
Endpoint = Literal["completions", "chat"]
Mark = Literal["prefix", "partial"]

_QUOTED_CHARACTERS = 100
"""How much of the reply's end `ChatInstruct` quotes, in characters."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What to send, and what the server may wrongly send back.

    A model may rightly repeat its reply from the start, for example a refrain. So a repeated reply is the model's own
    text, unless the server is known to repeat replies (`for_server`). Only two repetitions are removed from every
    server (`unmistakable`): the whole prompt, and the reply after an instruction not to repeat it.

    Attributes:
        endpoint: The endpoint to call.
        body: Fields of the request that describe what to continue.
        prefills: Texts that the model was given. The server may repeat one of them at the beginning of its output.
        trailing_white_space: White space at the end of the given text. A chat template may cut it off, and the model
            may write it again.
        white_space_sent: Whether that white space was sent. If it was not, the model can only write it again.
        overlap: The given text, if the model itself may begin by repeating the end of it.
        unmistakable: Whether a repeated prefill cannot be meant as new text.
        repeats: Whether the server is known to repeat the prefill.
        drops_reasoning: Whether to drop the model's reasoning, because it does not belong to the turn. It is about the
            instruction to continue, or the turn has a thought already.
        plan: How the calls are read from the output text.
        thoughts: The format of the model's thoughts. None if the chat template is not known here.
        opens_thought: Whether the prompt that the server renders opens a thought, as the chat template shows.
    """

    endpoint: Endpoint
    body: dict[str, Any]
    prefills: tuple[str, ...] = ()
    trailing_white_space: str = ""
    white_space_sent: bool = False
    overlap: str = ""
    unmistakable: bool = False
    repeats: bool = False
    drops_reasoning: bool = False
    plan: AnswerPlan = FREE_TEXT
    thoughts: ThoughtFormat | None = None
    opens_thought: bool = False

    def for_server(self, *, repeats: bool) -> Payload:
        """Return the payload for a server.

        Args:
            repeats: Whether the server is known to repeat the reply at the beginning of its output. If it is not, the
                output that equals the reply is the model's own text.
        """
        if self.unmistakable:
            return self
        return replace(self, repeats=True) if repeats else replace(self, prefills=())

    def echo_filter(self) -> EchoFilter:
        """Return a filter for the output."""
        return EchoFilter(
            self.prefills,
            self.trailing_white_space,
            self.overlap,
            repeats=self.repeats,
            white_space_sent=self.white_space_sent,
        )


class Strategy(Protocol):
    """A way to ask a server to continue a turn."""

    @property
    def name(self) -> StrategyName:
        """The name that users know."""

    def payload(self, turn: Turn) -> Payload:
        """Return what to send so that the model continues where the turn ends."""


@dataclass(frozen=True)
class Raw:
    """`POST /completions` with a prompt that is rendered here.

    This is exact if the server passes prompts on unchanged. vLLM, SGLang, llama.cpp, transformers serve, TGI, Together
    and Fireworks do. Ollama and LiteLLM do not: they wrap the prompt into a user message.
    """

    template: ChatTemplate
    name: StrategyName = field(default="raw", init=False)

    def payload(self, turn: Turn) -> Payload:
        """Render the conversation and the reply so far as one prompt."""
        reply = self.template.quoted_reply_text(turn)
        prompt = self.template.prompt_text(turn) + reply
        plan = self.template.plan(turn)
        body: dict[str, Any] = {"prompt": prompt}
        if plan.call_format and plan.grammar and plan.grammar.kind == "json_schema":
            # vLLM and SGLang constrain the rest of the call to the schema. Other servers ignore the field.
            named = {"name": "call", "schema": plan.grammar.definition}
            body["extra_body"] = {"response_format": {"type": "json_schema", "json_schema": named}}
        if not self.template.thoughts.marks.isdisjoint(self.template.special_marks.values()):
            # Otherwise vLLM and SGLang remove the marks of the thought from the text.
            body.setdefault("extra_body", {})["skip_special_tokens"] = False
        thoughts = self.template.thoughts
        return Payload("completions", body, prefills=(prompt,), unmistakable=True, plan=plan, thoughts=thoughts)


@dataclass(frozen=True)
class ChatFlag:
    """`POST /chat/completions` with the reply so far as the last message, which vLLM's flag leaves open.

    This is for servers whose tokenizer is not available here. If nothing of the turn is written yet, the request is an
    ordinary chat request.

    Attributes:
        reasoning: Whether the partial thought goes into the separate field `reasoning_content` (llama.cpp).
        template: The model's chat template, if available. A server renders the open message with it, and some templates
            trim the message or omit its thought. If so, `Raw` makes the request instead.
    """

    reasoning: bool = False
    template: ChatTemplate | None = None
    name: StrategyName = field(default="chat_flag", init=False)

    def payload(self, turn: Turn) -> Payload:
        """Send the conversation with the reply so far as an open last message."""
        if self.template and turn.is_begun and not self.template.continues_in_place(turn):
            return Raw(self.template).payload(turn)
        flags: dict[str, Any] = {"continue_final_message": True, "add_generation_prompt": False}
        reply, thought = _fields(turn) if self.reasoning else (turn.body(), {})
        if self.reasoning and not reply and parts(turn)[2]:
            flags["continue_final_message"] = "content"  # otherwise llama.cpp goes on with the thought
        payload = _open_message(turn, reply, thought, extra_body=flags)
        return replace(payload, trailing_white_space="") if self.template else payload  # the template keeps it


@dataclass(frozen=True)
class ChatMark:
    """A last message with a mark: `prefix` (DeepSeek's beta address, Mistral) or `partial` (Kimi, DashScope).

    Attributes:
        mark: The field that marks the message.
        reasoning: Whether the partial thought goes into the separate field `reasoning_content` (DeepSeek).
    """

    mark: Mark = "prefix"
    reasoning: bool = False
    name: StrategyName = field(default="chat_mark", init=False)

    def payload(self, turn: Turn) -> Payload:
        """Send the conversation with the reply so far as a marked last message."""
        reply, thought = _fields(turn) if self.reasoning else (turn.body(), {})
        return _open_message(turn, reply, {self.mark: True, **thought})


@dataclass(frozen=True)
class ChatTrailing:
    """A last assistant message without any mark. Claude up to 4.5, Gemini before 3.6, OpenRouter and Groq continue it.

    White space at the end of the message is not sent, because Anthropic refuses it.
    """

    name: StrategyName = field(default="chat_trailing", init=False)

    def payload(self, turn: Turn) -> Payload:
        """Send the conversation with the reply so far as the last message."""
        return replace(_open_message(turn, turn.body().rstrip(), {}, given=turn.body()), white_space_sent=False)


@dataclass(frozen=True)
class ChatInstruct:
    """Instructs the model to continue. This is the last resort, for servers that always begin a new message.

    The instruction is an emulation: the model may begin anew or lose the thread.
    """

    name: StrategyName = field(default="chat_instruct", init=False)

    def payload(self, turn: Turn) -> Payload:
        """Send the reply so far and ask for what comes next."""
        messages = _conversation(turn)
        if not turn.is_begun:
            return Payload("chat", {"messages": messages})
        thought, answer, closed = parts(turn)
        in_thought = turn.thinks and not closed
        if in_thought:
            given = thought
            messages.append({"role": "user", "content": _CONTINUE_THOUGHT.format(thought=thought)})
        elif answer:
            given = answer
            messages.append({"role": "assistant", "content": answer.rstrip()})
            messages.append(
                {"role": "user", "content": _CONTINUE_ANSWER.format(end=answer.rstrip()[-_QUOTED_CHARACTERS:])}
            )
        else:
            messages.append({"role": "user", "content": _WRITE_ANSWER.format(thought=thought)})
            # An answer may begin with the last sentence of the thought.
            return Payload("chat", {"messages": messages}, drops_reasoning=True)
        return Payload(
            "chat",
            {"messages": messages},
            prefills=(given,),
            trailing_white_space=given[len(given.rstrip()) :],
            white_space_sent=in_thought,
            overlap=given,
            unmistakable=True,
            drops_reasoning=True,
        )


def strategies_by_name(*kinds: type[Strategy]) -> dict[StrategyName, type[Strategy]]:
    """Return classes of strategies by name.

    Raises:
        TypeError: The names are not those in `StrategyName`.
    """
    names = [vars(kind).get("name", kind.__name__) for kind in kinds]
    expected = get_args(StrategyName)
    wrong = [name for name in dict.fromkeys((*names, *expected)) if (names.count(name), name in expected) != (1, True)]
    if wrong:
        msg = f"{', '.join(wrong)}: expected the name once in `StrategyName` and one class with it in `STRATEGIES`"
        raise TypeError(msg)
    return dict(zip(names, kinds, strict=True))


STRATEGIES = strategies_by_name(Raw, ChatFlag, ChatMark, ChatTrailing, ChatInstruct)
"""The classes of all strategies, by the name that users know."""


def named_strategy(name: StrategyName, template: ChatTemplate | None, known: Sequence[Strategy] = ()) -> Strategy:
    """Return the strategy that a user names.

    Args:
        name: The name.
        template: The model's chat template, for strategies that use one.
        known: Strategies of the server. If one of them has this name, its settings are kept, for example the mark.
    """
    kind: Any = STRATEGIES[name]
    settings = {"template": template} if "template" in kind.__dataclass_fields__ else {}
    documented: Any = next((strategy for strategy in known if strategy.name == name), None)
    strategy: Strategy = replace(documented, **settings) if documented else kind(**settings)
    return strategy


_CONTINUE_ANSWER = (
    "Your message was cut off after these words:\n\n{end}\n\n"
    "Go on from exactly there. Write only what comes next, without repeating any of it and without a remark about it."
)
_CONTINUE_THOUGHT = (
    "Below is the beginning of the private reasoning about my request, between <draft> and </draft>. It stops in the "
    "middle. Write only what comes next in it, from exactly where it stops, without repeating any of it. When the "
    f"reasoning has come to its end, write {THINK_CLOSE}, and after it the answer to me.\n\n"
    "<draft>\n{thought}</draft>"
)
_WRITE_ANSWER = (
    "Below is the finished private reasoning about my request, between <draft> and </draft>. Write the answer to me "
    "that follows from it, and nothing else.\n\n<draft>\n{thought}</draft>"
)


def parts(turn: Turn) -> tuple[str, str, bool]:
    """Return the thought, the answer, and whether the thought is closed. They include the pending text."""
    if not turn.thinks or turn.closing:
        return turn.thinking, f"{turn.answer}{turn.pending}", bool(turn.closing)
    more, closing, answer = turn.pending.partition(THINK_CLOSE)
    return f"{turn.thinking}{more}", answer.lstrip(), bool(closing)


def _fields(turn: Turn) -> tuple[str, dict[str, Any]]:
    """Return the answer and, if there is a thought, the field that contains it."""
    thought, answer, _ = parts(turn)
    return answer, {"reasoning_content": thought} if thought else {}


def _open_message(
    turn: Turn, reply: str, mark: dict[str, Any], *, extra_body: dict[str, Any] | None = None, given: str | None = None
) -> Payload:
    messages = _conversation(turn)
    if not turn.is_begun:
        return Payload("chat", {"messages": messages})
    messages.append({"role": "assistant", "content": reply, **mark})
    body = {"messages": messages, **({"extra_body": extra_body} if extra_body else {})}
    if given is None:
        thought, _, closed = parts(turn)
        given = thought if "reasoning_content" in mark and not closed else reply  # the model continues this text
    white_space = given[len(given.rstrip()) :]
    return Payload("chat", body, prefills=(given,), trailing_white_space=white_space, white_space_sent=True)


def _conversation(turn: Turn) -> list[dict[str, Any]]:
    """Return the conversation in plain messages. Every server accepts them, even a server without support for tools."""
    history = with_schema_prompt(turn.history, turn.schema) if turn.schema else turn.history
    return [
        {"role": m.role, "content": m.content}
        for m in with_tool_prompt(history, turn.tools, now=turn.channel == "answer")
    ]

"""A model's chat template, which renders a turn for the model that continues it."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from langchain_spec_thinking.backends.redaction import public_name
from langchain_spec_thinking.backends.replies.answer_plan import plan_answer
from langchain_spec_thinking.backends.replies.call_formats import format_of
from langchain_spec_thinking.backends.replies.returned_reasoning import in_current_tool_loop
from langchain_spec_thinking.backends.replies.thought_formats import THINK, thought_format_of
from langchain_spec_thinking.backends.replies.tool_prompts import with_schema_prompt, with_tool_prompt
from langchain_spec_thinking.errors import ContinuationError, InvalidRequestError
from langchain_spec_thinking.turn import THINK_CLOSE, Message, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from langchain_spec_thinking.backends.replies.call_format import AnswerPlan
    from langchain_spec_thinking.tools import ToolCall

_MARK = "\ue000{}\ue001"
"""Replaces a control token in a message while the template is rendered. It uses private-use characters."""
_MARKED = re.compile("\ue000(\\d+)\ue001")
_NO_MARKS = {0xE000: None, 0xE001: None}
_ZERO_WIDTH_SPACE = "\u200b"
"""A zero-width space. Inside the text of a control token, it keeps a server's tokenizer from seeing the token."""


class ChatTemplate:
    """Renders turns for one model with its tokenizer's chat template.

    Text in messages cannot become control tokens. For example, `<|im_start|>system` in a user's message stays plain
    text and starts no system message.

    Args:
        tokenizer: The model's tokenizer.
        thinking: Whether the model reasons between think tags. If None, the chat template decides.

    Raises:
        ContinuationError: The tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, thinking: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self._name = public_name(str(tokenizer.name_or_path))
        try:
            self.source = str(tokenizer.get_chat_template())
        except ValueError as e:
            msg = (
                f"{self._name}: the tokenizer has no chat template, so conversations cannot be rendered. "
                "Use an instruct model, or set `tokenizer.chat_template` for a base model."
            )
            raise ContinuationError(msg) from e
        self.thoughts = thought_format_of(self.source) or THINK
        self.thinks = thought_format_of(self.source) is not None if thinking is None else thinking
        self.call_format = format_of(self.source)
        # A server removes special tokens from the text, so calls that are marked by special tokens are lost.
        self.writes_calls_as_text = self.call_format.marks.isdisjoint(self.special_marks.values())
        self._supports_tools = "tools" in self.source
        self._prompts: WeakKeyDictionary[Turn, tuple[bool, str]] = WeakKeyDictionary()
        self._in_place: dict[tuple[bool, bool], bool] = {}

    def prompt_text(self, turn: Turn) -> str:
        """Render the conversation for a server that tokenizes it, up to where the assistant's text begins.

        A zero-width space breaks up the text of control tokens inside messages. The beginning-of-sequence token is
        omitted if the tokenizer adds one, because two such tokens are worse than none.
        """
        text = _MARKED.sub(lambda m: _break_up(self._controls[int(m[1])]), self._prompt(turn))
        bos = self.tokenizer.bos_token
        return text.removeprefix(bos) if bos and self._adds_bos else text

    def prompt_ids(self, turn: Turn) -> list[int]:
        """Tokenize the conversation up to where the assistant's text begins.

        The text of control tokens inside messages is tokenized character by character. The text is kept, but has no
        effect.
        """
        ids: list[int] = []
        parts = _MARKED.split(self._prompt(turn))
        for i, part in enumerate(parts):
            pieces = [part] if i % 2 == 0 else list(self._controls[int(part)])
            for piece in pieces:
                ids += self.tokenizer.encode(piece, add_special_tokens=False)
        return ids

    def quoted_reply_text(self, turn: Turn) -> str:
        """Render the reply for a server. The text of control tokens in it is broken up as in `prompt_text`."""
        return self.reply_controls.sub(lambda m: _break_up(m[0]), self.reply_text(turn))

    @cached_property
    def reply_controls(self) -> re.Pattern[str]:
        """Matches control tokens that must not occur in a reply. A model may quote them letter by letter."""
        return _any_of([text for text in self._controls if text not in self.answer_marks])

    @property
    def answer_marks(self) -> frozenset[str]:
        """Texts with a meaning in a reply, which some vocabularies contain as control tokens."""
        return self.call_format.marks | self.call_format.optional_marks | THINK.marks | self.thoughts.marks

    @cached_property
    def special_marks(self) -> dict[int, str]:
        """Texts with a meaning in a reply that are special tokens, by token id. Decoding removes special tokens.

        A tokenizer gives names to some special tokens only (`all_special_tokens`), but decoding removes all of them.
        """
        added = self.tokenizer.added_tokens_decoder.items()
        return {index: token.content for index, token in added if token.special and token.content in self.answer_marks}

    def opens_thought(self, turn: Turn) -> bool:
        """Return whether the prompt of a turn ends with the marker that opens a thought."""
        return self._prompt(turn).rstrip().endswith(self.thoughts.opens.strip())

    def reply_text(self, turn: Turn) -> str:
        """Render what the assistant has written so far, as it follows the prompt."""
        opened = self.opens_thought(turn)
        if opened and not turn.thinks:  # the template always opens a thought, but this turn has none
            return f"\n{self.thoughts.closes}\n\n{turn.answer}{turn.pending}{self.plan(turn).prefix}"
        return f"{self.thoughts.body(turn, opened=opened)}{self.plan(turn).prefix}"

    def plan(self, turn: Turn) -> AnswerPlan:
        """Return the plan for the next text. `reply_text` ends with the plan's prefix."""
        return plan_answer(turn, self.call_format)

    def continues_in_place(self, turn: Turn) -> bool:
        """Return whether the template renders an open last message exactly like `reply_text`, in a turn of this kind.

        Many templates do not: they trim the message, or omit a finished thought. The method tests this with a sample
        turn, once for each kind of turn.
        """
        kind = (turn.thinks, turn.thinking_closed)
        if kind not in self._in_place:
            self._in_place[kind] = self._renders_in_place(_sample(*kind))
        return self._in_place[kind]

    def _renders_in_place(self, turn: Turn) -> bool:
        expected = self._prompt(turn) + self.reply_text(turn)
        messages = [{"role": m.role, "content": m.content} for m in turn.history]
        messages.append({"role": "assistant", "content": turn.body()})
        try:
            rendered = self.tokenizer.apply_chat_template(
                messages, tokenize=False, continue_final_message=True, enable_thinking=turn.thinks
            )
        except Exception:  # noqa: BLE001 - if the template cannot render the turn, it cannot continue it
            return False
        return rendered == expected

    @cached_property
    def _controls(self) -> list[str]:
        """Texts that the tokenizer treats as control tokens: special tokens, and tokens that the template uses."""
        added = self.tokenizer.added_tokens_decoder.values()
        texts = {token.content for token in added if token.special or token.content in self.source}
        return sorted((text for text in texts if text.strip()), key=len, reverse=True)

    @cached_property
    def _control_pattern(self) -> re.Pattern[str]:
        return _any_of(self._controls)

    @cached_property
    def _adds_bos(self) -> bool:
        return self.tokenizer.bos_token_id in self.tokenizer("")["input_ids"]

    def _prompt(self, turn: Turn) -> str:
        """Render the conversation with marked control tokens, once a turn. The history of a turn never changes."""
        thinks, prompt = self._prompts.get(turn, (turn.thinks, ""))
        if not prompt or thinks != turn.thinks:
            prompt = self._render(turn)
            self._prompts[turn] = (turn.thinks, prompt)
        return prompt

    def _render(self, turn: Turn) -> str:
        history, tools = turn.history, turn.tools
        if turn.schema:
            history = with_schema_prompt(history, turn.schema)
        if not self._supports_tools:
            history, tools = with_tool_prompt(history, tools, now=True, call_format=self.call_format), None
        messages = [self._message(message) for message in history]
        if "reasoning_content" in self.source:  # the template decides which thoughts the model sees
            for at in in_current_tool_loop(history):
                if history[at].role == "assistant" and history[at].reasoning:
                    messages[at]["reasoning_content"] = self._marked(history[at].reasoning)
        schemas = self._marked(list(tools.schemas)) if tools and tools.choice != "none" else None
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tools=schemas, tokenize=False, add_generation_prompt=True, enable_thinking=turn.thinks
                )
            )
        except Exception as e:  # a template can raise any error, with a message for the user
            msg = (
                f"{self._name}: the chat template refuses this conversation "
                f"({', '.join(m.role for m in turn.history)}): {e}"
            )
            raise InvalidRequestError(msg) from e

    def _message(self, message: Message) -> dict[str, Any]:
        fields: dict[str, Any] = {"role": message.role, "content": self._marked(message.content)}
        if message.tool_calls:
            fields["tool_calls"] = [self._tool_call(call) for call in message.tool_calls]
        if message.role == "tool":
            fields |= self._marked({"tool_call_id": message.tool_call_id, "name": message.name})
        return fields

    def _tool_call(self, call: ToolCall) -> dict[str, Any]:
        # Templates write the arguments as text themselves.
        function = {"name": call.name, "arguments": self.call_format.template_arguments(call)}
        return {**self._marked({"id": call.id, "function": function}), "type": "function"}

    def _marked(self, value: Any) -> Any:  # noqa: ANN401 - text or any JSON value
        """Mark the control tokens in all texts of a value."""
        if isinstance(value, str):
            text = value.translate(_NO_MARKS)
            return self._control_pattern.sub(lambda m: _MARK.format(self._controls.index(m[0])), text)
        if isinstance(value, dict):
            return {self._marked(key): self._marked(item) for key, item in value.items()}
        return [self._marked(item) for item in value] if isinstance(value, list) else value


def _sample(thinks: bool, closed: bool) -> Turn:  # noqa: FBT001 - the two properties of a turn's kind
    """Make half a turn. It ends with white space, because templates trim there."""
    turn = Turn((Message("user", "Which number?"),), thinks=thinks)
    turn.append("speculative", "It is 4711.\n\n")
    if closed:
        turn.closing = f"{THINK_CLOSE}\n\n"
        turn.append("speculative", "The number is 4711.\n\n")
    return turn


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, texts)) or "(?!)")


def _break_up(control: str) -> str:
    return control[0] + _ZERO_WIDTH_SPACE + control[1:]

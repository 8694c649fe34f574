"""The policy: a pure state machine that decides which model writes next, and which text is kept.

Theory of operation
===================

All states and all transitions of Speculative Thinking (arXiv:2504.12329) are in this file. The machine receives text
and returns commands. It uses no model, no network and no clock. Its decisions depend only on the text, not on how the
text is split into chunks.

What the caller must do
-----------------------

1. Call `start` once. Carry out the returned commands in their order. Do the same for the commands that all other
   methods return.
2. If a returned list contains a `Generate`, the previous stream is over. Close it, ignore the rest of it, and send the
   new request to the model that the command names.
3. Pass each piece of the new stream to `receive`, and each tool call to `call`. If the stream ends by itself, pass the
   reason to `end`.
4. If a returned list contains a `Finish`, the turn is over. Close the stream and stop.

If a stream breaks, the caller may request the rest of it: the new stream continues after the committed text and
`pending`. If another model must carry out the current command, call `drop_held_text` first. If the target model is lost
for the rest of the turn, call `stop_takeovers`.

Held, committed and dropped text
--------------------------------

Received text is held until a rule decides about it. Committed text is final and belongs to the turn. Dropped text does
not. `TurnText` carries out these decisions and records what later decisions need.

States
------

The state is the method that examines the held text next (`self._state`). The method returns True if the next state must
examine the held text at once. It returns False if more text or a new stream is necessary.

One model leads. It writes until the other model takes over. The trigger's `lead` names it: by default it is the
speculative model, for `TargetLeads` the target model.

- `_begin`: The first characters of the turn arrive. They may open a thought.
- `_writing`: The leading model writes in the middle of a step. Its text is committed as it arrives.
- `_draft`: The leading model writes right after a boundary. Its text is held until a rule decides about it.
- `_score`: A whole step is held. The target model scores it with a digit.
- `_takeover`: The other model writes an opening, a sentence or step, a verification, or the passage that ends excessive
  reflection.
- `_closing`: The closing think tag has arrived. The machine waits for the end of the white space after it.
- `_answer`: One model writes the whole answer.
- `_done`: The turn is over.

Transitions
-----------

The first state is `_begin`. Only a structured answer without a thought begins in `_answer`.

- `_begin` -> `_takeover`: The policy has an opening. Otherwise the next state is `_writing`.
- `_writing` -> `_draft`: The text contains a boundary.
- `_draft` -> `_writing`: The draft is kept, or the target model is lost or has no room left in its context.
- `_draft` -> `_takeover`: The draft has a reason for a takeover, its kept sentence contains a verification cue, the
  thought has too many reflections, or the policy takes over at every boundary.
- `_draft` -> `_score`: The trigger requests a score, and the step is complete.
- `_score` -> `_takeover`: The digit is lower than the threshold. The step is dropped.
- `_score` -> `_draft`: The step is kept and ends with a boundary. If it ends without one, the next state is `_writing`.
  If the thought or the turn ended with the step, the next state is `_answer` or `_done`.
- `_takeover` -> `_takeover`: The sentence of the takeover contains a verification cue.
- `_takeover` -> `_draft`: The takeover is complete and its text ends with a boundary. If its text ends without one, the
  next state is `_writing`.
- `_writing`, `_draft`, `_takeover` -> `_closing`: The author writes the closing think tag and also writes the answer.
- `_writing`, `_draft`, `_takeover` -> `_answer`: The author writes the closing think tag, but another model writes the
  answer or the answer needs its own request. Or the stream ended before an answer began.
- `_closing` -> `_answer`: The answer begins.
- `_answer` -> `_answer`: The stream ended without an answer, so the other model answers. Or the stream of a takeover
  reached its limit after the answer had begun, so the same model continues.
- Any state -> `_done`: A stop string arrives in the answer, a model ends the turn, or no tokens are left.

If neither model writes a thought, takeovers happen in the answer, and the turn never enters `_closing`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy.boundary import Boundary
from langchain_spec_thinking.policy.commands import Command, EndReason, Finish, Generate, Kind, Note
from langchain_spec_thinking.policy.cues import Cue
from langchain_spec_thinking.policy.endings import WORD_MAX, indentation, last_word_start
from langchain_spec_thinking.policy.reflections import Reflections
from langchain_spec_thinking.policy.scored_step import NO_DIGIT, SCORE_TOKENS, ScoredStep
from langchain_spec_thinking.policy.triggers import NO_LOGPROBS, Draft, ScoreRequest
from langchain_spec_thinking.policy.turn_text import TurnText
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.policy.settings import DelegationPolicy
    from langchain_spec_thinking.turn import Author

    State = Callable[[bool], bool]
    """Examines the held text. `final`: no more text follows. Returns whether the next state must examine it at once."""

_SENTENCE_KINDS = ("affirmation", "reflection", "trigger", "relay")
"""The kinds of takeovers that write the sentence after a boundary. That sentence is then classified."""
_LEADING_KIND: dict[Author, Kind] = {"speculative": "draft", "target": "lead"}
"""The kind of text that a leading model writes."""


class Delegation:
    """The state machine of one turn.

    Call `start` once. While the last `Generate` command runs, pass the text of its author to `receive`, and the reason
    for the end of its stream to `end`. If the returned commands contain a new `Generate` or a `Finish`, the running
    stream is over.

    Args:
        policy: The settings of the method.
        thinks: Whether a model of the pair is a reasoning model. The turn then begins inside a thought. Otherwise the
            turn has no thought, unless a model opens one, and takeovers happen in the answer.
        answer_by: The model that writes the answer after the thought ends.
        max_tokens: The maximum number of tokens to keep. Each token counts in the vocabulary of its author.
        stop: Strings that end the answer.
        structured_answer: Whether one model must write the whole answer, in a request of its own. If there is no
            thought, that request is the first one, and there are no takeovers.
    """

    def __init__(
        self,
        policy: DelegationPolicy,
        *,
        thinks: bool,
        answer_by: Author = "speculative",
        max_tokens: int,
        stop: Sequence[str] = (),
        structured_answer: bool = False,
    ) -> None:
        self._policy = policy
        self._trigger = policy.trigger
        self._lexicon = policy.trigger.lexicon
        self._leading_author: Author = policy.trigger.lead
        self._boundary = Boundary(policy.boundary)
        self._thinks = thinks
        self._answer_by: Author = answer_by
        self._structured_answer = structured_answer
        self._commands: list[Command] = []
        self._text = TurnText(self._commands, self._boundary, stop, max_tokens)
        self._takeovers_stopped = False  # because the target model's context is full, or the target model failed
        self._takeover_text = ""  # the text that the current takeover has committed
        self._decided_drafts = 0  # number of drafts that are decided
        self._reflections = Reflections(policy)
        self._after_target_step = False  # the current draft follows a whole step of the target model
        self._scored_step: ScoredStep | None = None  # the step that the target model scores
        self._end_reason: EndReason = "stop"  # why the last stream ended
        self._answer_authors: set[Author] = set()  # the models that were asked for the answer
        self._state: State = self._writing
        self._state_after_begin: State = self._writing

    # -- methods that the driver calls

    def start(self) -> list[Command]:
        """Begin the turn and return the first commands."""
        if self._thinks:
            self._text.open_thought()
        elif self._structured_answer:
            self._generate(self._answer_by, None, "answer", None, self._answer)
            return self._flush()
        if self._policy.opening_tokens:
            self._generate("target", self._policy.opening_tokens, "opening", None, self._takeover)
        else:
            self._generate_leading(self._writing)
        self._state_after_begin, self._state = self._state, self._begin
        return self._flush()

    def receive(self, text: str, tokens: int = 1, top_logprobs: tuple[float, ...] | None = None) -> list[Command]:
        """Receive text of the current author.

        Args:
            text: A piece of any size.
            tokens: The number of tokens of the text.
            top_logprobs: Log-probabilities of the most likely tokens at the position of the first token of the text.
                None if the command did not request them, or if the text begins inside a token.
        """
        self._text.receive(text, tokens, top_logprobs)
        self._advance(final=False)
        return self._flush()

    def end(self, reason: EndReason, tokens: int = 0) -> list[Command]:
        """Receive the end of the current author's stream.

        Args:
            reason: `"stop"`: The model ended the turn. `"length"`: The model wrote as many tokens as requested.
            tokens: A correction of the number of received tokens, if the backend knows the exact number only at the
                end.
        """
        self._text.receive("", tokens)
        self._end_reason = reason
        generation = self._text.generation
        self._advance(final=True)
        if generation is not None and generation is self._text.generation:
            self._stream_ended(generation, reason)
        return self._flush()

    def call(self, tokens: int) -> list[Command]:
        """Receive a tool call of the current author, instead of an answer or after one.

        Args:
            tokens: The number of tokens of the call.
        """
        self._text.count_call(tokens)
        return self._flush()

    @property
    def pending(self) -> str:
        """The text that was received but is not committed yet. A stream that broke continues after this text."""
        held = self._text.held.text
        return f"{THINK_CLOSE}{held}" if self._state == self._closing else held

    @property
    def at_boundary(self) -> bool:
        """Whether the current draft is undecided, so that the target model may replace it."""
        return self._state == self._draft and not self._takeovers_stopped

    def drop_held_text(self) -> list[Command]:
        """Drop the held text, because another model carries out the current command from the committed text on."""
        self._text.drop()
        if self._state == self._closing:
            self._text.close_thought()
            self._state = self._answer
        return self._flush()

    def stop_takeovers(self) -> None:
        """Stop takeovers at boundaries."""
        self._takeovers_stopped = True

    # -- the states

    def _begin(self, final: bool) -> bool:  # noqa: FBT001 - the signature of a State
        """Treat a think tag at the start of the turn as markup, even if no thought was expected."""
        held = self._text.held.text
        start = held.lstrip()
        if not final and THINK_OPEN.startswith(start):
            return False
        if start.startswith(THINK_OPEN):
            thought = start.removeprefix(THINK_OPEN).lstrip()
            if not thought and not final:
                return False
            self._text.take_markup(len(held) - len(thought))
            if not self._text.thinks:
                self._text.open_thought()
        self._state = self._state_after_begin
        return True

    def _writing(self, final: bool) -> bool:  # noqa: FBT001
        stop, head = self._text.before_terminator(final=final)
        boundary = self._boundary.search(self._text.tail, head)
        if boundary:
            self._text.commit(boundary[1])
            self._text.tail = ""
            self._state = self._draft
            return True
        self._text.commit(len(head))
        return self._terminate() if stop else False

    def _draft(self, final: bool) -> bool:  # noqa: FBT001
        """Hold the sentence after a boundary until a cue, its end, or a rule that needs no draft decides."""
        stop, head = self._text.before_terminator(final=final)
        extension = self._boundary.extension(head)
        self._text.commit(extension)
        head = head[extension:]
        if not head.strip():
            if final or stop:
                self._text.commit(len(head))
            return self._terminate() if stop else False
        if self._takeovers_stopped:
            self._state = self._writing
            return True
        if self._reflections.excessive:
            return self._end_excessive_reflection()
        if self._policy.takeover_every_boundary and not self._after_target_step:
            return self._take_over("trigger", None)
        return self._examine_draft(head, final=final, stop=stop)

    def _examine_draft(self, head: str, *, final: bool, stop: bool) -> bool:
        """Let the trigger examine a draft. `head` is the part of the held text before any terminator."""
        end = self._boundary.sentence_end(head, self._policy.sentence_tokens, last=stop or final)
        limit = len(head) if end is None else end
        text = self._text.held.text[: limit + 1]
        # The token of a boundary is not a first token.
        first_token_limit = limit - self._boundary.partial_length(head) if end is None else end
        first = self._text.held.first_token(first_token_limit) if self._trigger.top_logprobs else None
        decision = self._trigger.examine(Draft(text, limit, final, self._decided_drafts, first))
        if isinstance(decision, ScoreRequest):
            return self._request_score(decision, head, final=final, stop=stop)
        certain = isinstance(decision, Cue) or (decision == "keep" and not self._lexicon.verification)
        if not certain and end is None:
            return False
        self._decided_drafts += 1
        if isinstance(decision, Cue):
            return self._take_over_at_cue(decision)
        if decision is None and self._trigger.top_logprobs and first is None:
            self._commands.append(Note(NO_LOGPROBS))
        verifying = self._lexicon.verifies(text, limit)
        self._text.commit(limit)
        self._after_target_step = False
        if verifying:
            self._text.drop()  # white space after it may have arrived or not: the result must be the same
            return self._take_over("verification", verifying)
        self._state = self._writing
        return True

    def _score(self, final: bool) -> bool:  # noqa: FBT001
        """Wait for a digit. Then commit the held step, or let the target model rewrite it."""
        digit = re.search("[0-9]", self._text.held.text)
        scored = self._scored_step
        if scored is None or (digit is None and not final):
            return False
        self._takeovers_stopped |= final and self._end_reason == "length" and not self._text.written
        self._text.drop()
        self._scored_step = None
        self._text.generation, self._text.written = scored.generation, scored.written
        self._text.held.add(scored.text, scored.tokens)
        if digit and int(digit[0]) < scored.threshold:
            return self._take_over("trigger", digit[0])
        if digit is None:
            self._commands.append(Note(NO_DIGIT))
        self._text.commit()
        if scored.ending is None:
            self._hand_back()
            self._after_target_step = False  # the target model did not write this step
        elif scored.ending != "terminator":
            self._stream_ended(scored.generation, scored.ending)
        elif self._text.in_answer:
            self._finish("stop")
        else:
            self._begin_answer()
        return False

    def _takeover(self, final: bool) -> bool:  # noqa: FBT001
        stop, head = self._text.before_terminator(final=final)
        if self._policy.takeover_tokens is None and self._text.kind in _SENTENCE_KINDS:
            # A step may begin with white space. That white space does not end the step.
            has_text = bool(self._takeover_text.strip())
            skip = 0 if has_text else len(head) - len(head.lstrip())
            boundary = self._boundary.search(self._text.tail if has_text else "", head[skip:])
            if boundary:
                end = skip + boundary[1]
                end += self._boundary.extension(head[end:])
                if head[end:].strip() or final:
                    self._takeover_text += self._text.commit(end + indentation(head[end:]))
                    self._text.drop()
                    return self._end_takeover()
                if not stop:
                    return False
        if stop:
            self._text.commit(len(head))
            return self._terminate()
        if not final:  # hold the last word: it may be incomplete, and is then dropped before a hand-over
            context = self._takeover_text[-WORD_MAX - 2 :]
            self._takeover_text += self._text.commit(max(0, last_word_start(context + head) - len(context)))
        return False

    def _closing(self, final: bool) -> bool:  # noqa: FBT001
        held = self._text.held.text
        answer = held.lstrip()
        if not answer and not final:
            return False
        space = held[: len(held) - len(answer)]
        self._text.take_markup(len(space))
        self._text.close_thought(THINK_CLOSE + space)
        self._answer_authors.add(self._text.author)
        self._state = self._answer
        return True

    def _answer(self, final: bool) -> bool:  # noqa: FBT001
        stop, head = self._text.before_terminator(final=final)
        self._text.commit(len(head))
        return self._terminate() if stop else False

    # -- transitions

    def _take_over(self, kind: Kind, cue: str | None) -> bool:
        tokens = self._policy.verification_tokens if kind == "verification" else self._policy.takeover_limit
        self._text.drop_draft_keep_indentation()
        author: Author = "target" if self._leading_author == "speculative" else "speculative"
        self._generate(author, tokens, kind, cue, self._takeover)
        return False

    def _take_over_at_cue(self, cue: Cue) -> bool:
        if cue.kind == "relay":  # keep the cue and drop the text after it
            self._text.commit(cue.end)
            self._text.drop()
        return self._take_over(cue.kind, cue.text or None)

    def _request_score(self, request: ScoreRequest, head: str, *, final: bool, stop: bool) -> bool:
        """Hold the step until its end, then let the target model score it."""
        end = self._boundary.step_end(head, last=final or stop)
        if end is None or self._text.generation is None:
            return False
        self._decided_drafts += 1
        ending: Literal["terminator"] | EndReason | None = None
        if end == len(head):
            ending = "terminator" if stop else self._end_reason if final else None
        generation, written = self._text.generation, self._text.written
        text, tokens = self._text.held.take(end)
        self._text.drop()
        self._scored_step = ScoredStep(text, tokens, generation, written, request.threshold, ending)
        self._generate("target", None, "score", None, self._score, text.rstrip() + request.question)
        return False

    def _end_excessive_reflection(self) -> bool:
        """End excessive reflection: insert the recap sentence, let the target model write, and reset the count."""
        sentence = self._policy.recap_sentence
        self._text.drop_draft_keep_indentation()
        if sentence:
            self._text.insert(sentence, "excessive_reflection")
        self._generate("target", self._reflections.reset_and_grow(), "excessive_reflection", None, self._takeover)
        return False

    def _end_takeover(self) -> bool:
        """Handle the end of a takeover: let the model verify, or hand back to the leading model."""
        sentence = self._takeover_text + self._text.held.text
        if self._text.kind in _SENTENCE_KINDS:
            if self._lexicon.classify(sentence) == "reflection":
                self._reflections.count += 1
            cue = self._lexicon.verifies(sentence)
            if cue:
                self._text.commit()
                return self._take_over("verification", cue)
        self._text.commit_whole_words(self._takeover_text)
        self._hand_back()
        return False

    def _hand_back(self) -> None:
        at_boundary = self._boundary.ends_with_boundary(self._text.tail)
        self._after_target_step = at_boundary and self._policy.takeover_tokens is None
        if at_boundary:
            self._text.tail = ""
        self._generate_leading(self._draft if at_boundary else self._writing)

    def _generate_leading(self, state: State) -> None:
        self._generate(self._leading_author, None, _LEADING_KIND[self._leading_author], None, state)

    def _begin_answer(self) -> None:
        self._text.close_thought()
        self._generate(self._answer_by, None, "answer", None, self._answer)

    def _terminate(self) -> bool:
        """Handle a terminator at the beginning of the held text."""
        if self._text.in_answer:
            self._text.drop()
            self._finish("stop")
            return False
        self._text.take_markup(len(THINK_CLOSE))
        if self._text.author == self._answer_by and not self._structured_answer:
            self._state = self._closing
            return True
        self._text.drop()
        self._begin_answer()
        return False

    def _stream_ended(self, generation: Generate, reason: EndReason) -> None:
        """Continue after a stream that ended before a rule requested another one."""
        text = self._text
        if reason == "length" and self._state == self._takeover and text.remaining > text.held.tokens:
            self._takeovers_stopped |= not text.written and not self._takeover_text and not text.held.text
            self._end_takeover()
            return
        text.commit()
        author = self._next_answer_author(generation, reason)
        if author is None:
            self._finish(reason)
            return
        if not text.in_answer:
            text.close_open_thought()
        self._generate(author, None, "answer", None, self._answer)

    def _next_answer_author(self, generation: Generate, reason: EndReason) -> Author | None:
        """Return the model that answers, or continues the answer, after a stream ended; None if the turn is over."""
        text = self._text
        if reason == "length":
            if text.remaining <= 0:
                return None
            if not text.in_answer:
                # The author's context is full, or its server wrote less than requested. The other model answers.
                other: Author = "target" if generation.author == "speculative" else "speculative"
                return other if text.written < generation.max_tokens else None
            # If a takeover ended the thought and began the answer, its author continues the answer.
            author_began_answer = self._state == self._answer and generation.kind not in {"answer", "draft", "lead"}
            return generation.author if author_began_answer else None
        if not text.in_answer:
            return self._answer_by
        self._answer_authors.add(generation.author)
        others: list[Author] = [a for a in ("speculative", "target") if a not in self._answer_authors]
        return others[0] if text.answer_is_blank and others else None

    # -- helpers

    def _advance(self, *, final: bool) -> None:
        while self._state(final):
            pass

    def _generate(
        self, author: Author, limit: int | None, kind: Kind, cue: str | None, state: State, prompt_suffix: str = ""
    ) -> None:
        remaining = self._text.remaining
        if remaining <= 0:
            self._finish("length")
            return
        room = SCORE_TOKENS if kind == "score" else remaining  # a score is not part of the turn
        tokens = room if limit is None else min(limit, room)
        top_logprobs = self._trigger.top_logprobs if kind == "draft" and not self._takeovers_stopped else 0
        command = Generate(author, tokens, kind, cue, prompt_suffix, top_logprobs)
        self._commands.append(command)
        self._text.generation, self._text.written = command, 0
        self._takeover_text = ""
        self._state = state

    def _finish(self, reason: EndReason) -> None:
        self._commands.append(Finish(reason))
        self._text.generation = None
        self._state = _done

    def _flush(self) -> list[Command]:
        commands = self._commands.copy()
        self._commands.clear()
        return commands


def _done(final: bool) -> bool:  # noqa: FBT001, ARG001 - the signature of a State
    return False

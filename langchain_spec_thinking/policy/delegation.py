"""The policy: a pure state machine that decides which model writes next, and which text is kept.

Theory of operation
===================

This file is Speculative Thinking (arXiv:2504.12329) as a state machine. The machine receives text and returns
commands. It uses no model, no network and no clock. Its decisions depend on the text, the numbers of tokens,
the log-probabilities of first tokens, and the reasons why streams ended. They do not depend on how the text is split
into chunks.

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
`pending`. If it breaks `at_start`, call `drop_held_text`: the new stream begins the turn. The caller may let the
speculative model carry out a command for the target model (`run.py` and `writers.py` do so if the target model failed
or the budget is spent). If this happens in the middle of a command, call `drop_held_text` first. If the target model is
lost for the rest of the turn, or brings no text in a short request, call `stop_takeovers`. The machine itself does not
know which model really wrote.

Held, committed and dropped text
--------------------------------

Received text is held until a rule decides about it. Committed text is final and belongs to the turn. Dropped text does
not. `TurnText` carries out these decisions and records what later decisions need.

States and transitions
----------------------

The state says what the machine waits for (`State`). Each state has a method that examines the held text, except `IDLE`
and `DONE`, in which no text arrives. `TRANSITIONS` (`states.py`) contains all transitions: for each state, what may
cause a transition, and the state that follows. Only `_move` changes the state, and it refuses what is not in the table.

Which cause applies also depends on what the machine remembers: whether takeovers are stopped, whether the draft follows
a whole step of the target model, when the next takeover may begin, the step that is scored, the count of reflections
(`Reflections`), and the models that were asked for the answer (`AnswerAuthors`). `TurnText` records whether the thought
is open or the answer has begun.

Two causes have several reasons. An answer is requested if the author of the closing tag does not write the answer, if a
structured answer needs a request of its own, if a stream ended before an answer began, or if the thought has reached
its limit (`ThinkingLimit`). The turn ends if a stop string arrives in the answer, a model ends the turn, or no tokens
are left.

One model leads. It writes until the other model takes over. The trigger's `lead` names it: by default it is the
speculative model, for `TargetLeads` the target model. Openings and recaps are always requested from the target model.
If neither model writes a thought, takeovers happen in the answer, and the turn never enters `CLOSING`. If no thought is
expected before a structured answer, one request asks for the whole answer. The model may still begin it with a thought.
Nobody takes over in that thought, and the answer follows it in the same request. The same holds if a turn has no
thought, one model wrote nothing, and the other model is asked for the answer. If a takeover is the rest of the
thought, its text is committed as it arrives, as that of the leading model, and takeovers are stopped.

`ReferenceRules` change six points, to reproduce the reference implementation. A draft is then held until it is
complete, and the text after a draft that is kept is examined again. A draft that a takeover may replace is set aside
(`RivalDraft`) until the takeover ends. If takeovers happen in the answer after a thought, `CLOSING` leads back to the
states of the thought.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from langchain_spec_thinking.policy.answer_authors import OTHER, AnswerAuthors
from langchain_spec_thinking.policy.commands import LEADING_KINDS, SENTENCE_KINDS
from langchain_spec_thinking.policy.cues import Cue
from langchain_spec_thinking.policy.held_text import part_end
from langchain_spec_thinking.policy.reflections import Reflections
from langchain_spec_thinking.policy.scored_step import NO_DIGIT, SCORE_CHARACTERS_MAX, ScoredStep
from langchain_spec_thinking.policy.states import TRANSITIONS, State
from langchain_spec_thinking.policy.thinking_limit import ThinkingLimit
from langchain_spec_thinking.policy.triggers import NO_LOGPROBS, Draft, ScoreRequest
from langchain_spec_thinking.policy.triggers.base import decision_of
from langchain_spec_thinking.policy.turn_text import TurnText
from langchain_spec_thinking.turn import THINK_CLOSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from langchain_spec_thinking.policy.commands import Command, EndReason, Kind
    from langchain_spec_thinking.policy.reference_rules import RivalDraft, WholeDraft
    from langchain_spec_thinking.policy.settings import DelegationPolicy
    from langchain_spec_thinking.turn import Author

_PART_MAX = 2000
"""How much text is examined at once, in characters. Each decision looks at all held text, so it must not be long."""


_LIMITED: Final = frozenset({State.WRITING, State.DRAFT, State.TAKEOVER})
"""The states in which the held text belongs to the thought, or to an answer without a thought."""


class Delegation:
    """The state machine of one turn. The theory of operation above says how to call it.

    Args:
        policy: The settings of the method.
        thinks: Whether a model of the pair is a reasoning model. The turn then begins inside a thought. Otherwise the
            turn has no thought, unless a model opens one, and takeovers happen in the answer.
        answer_by: The model that writes the answer after the thought ends.
        max_tokens: The maximum number of tokens to keep. Each token counts in the vocabulary of its author.
        stop: Strings that end the answer.
        thinking_limit: How long the thought may become: the two numbers of `ThinkingLimit`.
        structured_answer: Whether one model must write the whole answer, in a request of its own. If there is no
            thought, that request is the first one, and there are no takeovers.
        divide_pieces: Whether the tokens of a piece that is cut are divided by length. False: they all count for the
            part that is kept, as in records of versions 1 and 2.
        answer_passes_on: Whether the other model answers if the context of the model that answers is full before it
            wrote anything. False: the turn ends, as in records of versions 1 to 3.
        finish_words: Whether takeovers of the target model end at white space, up to `WORD_TOKENS` tokens later. False:
            an incomplete word at the end is dropped.
        answer_may_think: Whether a think tag at the start of a whole answer opens a thought: of a structured answer, or
            of an answer after another model wrote nothing. False: the tag is text of the answer, as in records of
            versions 1 to 4.
    """

    def __init__(
        self,
        policy: DelegationPolicy,
        *,
        thinks: bool,
        answer_by: Author = "speculative",
        max_tokens: int,
        stop: Sequence[str] = (),
        thinking_limit: Iterable[int] = ThinkingLimit(),
        structured_answer: bool = False,
        divide_pieces: bool = True,
        answer_passes_on: bool = True,
        finish_words: bool = False,
        answer_may_think: bool = True,
    ) -> None:
        self._policy = policy
        self._trigger = policy.trigger
        self._lexicon = policy.trigger.lexicon
        self._leading_author: Author = policy.trigger.lead
        self._thinks = thinks
        self._answer_by: Author = answer_by
        self._structured_answer = structured_answer
        self._answer_may_think = answer_may_think
        limit = ThinkingLimit(*thinking_limit)
        self._rules = policy.reference_rules
        self._shares_answer = self._rules.in_answer and answer_by == self._leading_author and not structured_answer
        self._text = TurnText(
            policy.boundary,
            stop,
            max_tokens,
            limit,
            divide_pieces=divide_pieces,
            finish_words=finish_words and not self._rules.exact_lengths,
            shares_answer=self._shares_answer,
            boundaries_in_blocks=self._rules.boundaries_in_blocks,
        )
        self._gave_rest = False  # a takeover that is the rest has begun
        self._short_takeovers_stopped = False  # the target hides its reasoning
        self._takeovers_stopped = False  # a takeover is the rest, the target's context is full, or the target failed
        self._next_takeover = 0  # number of kept tokens before which no takeover may begin
        self._decided_drafts = 0  # number of drafts that are decided
        self._reflections = Reflections(policy)
        self._after_target_step = False  # the current draft follows a whole step of the target model
        self._scored_step: ScoredStep | None = None  # the step that the target model scores
        self._rival: RivalDraft | None = None  # the draft that the current takeover may replace
        self._answer_authors = AnswerAuthors(answer_by, passes_on=answer_passes_on)
        self._state = State.IDLE

    # -- methods that the driver calls

    def start(self) -> list[Command]:
        """Begin the turn and return the first commands."""
        if self._thinks:
            self._text.open_thought()
        if self._structured_answer and not self._thinks:
            self._generate(
                "the turn starts" if self._answer_may_think else "an answer is requested", self._answer_by, "answer"
            )
        elif self._policy.opening_tokens and not self._short_takeovers_stopped:
            self._generate("the turn starts", "target", "opening", limit=self._policy.opening_tokens)
        else:
            self._generate_leading("the turn starts")
        return self._text.take_commands()

    def receive(self, text: str, tokens: int = 1, top_logprobs: tuple[float, ...] | None = None) -> list[Command]:
        """Receive text of the current author.

        Args:
            text: A piece of any size.
            tokens: The number of tokens of the text.
            top_logprobs: Log-probabilities of the most likely tokens at the position of the first token of the text.
                None if the command did not request them, or if the text begins inside a token.
        """
        author, end, counted = self._text.author, 0, 0
        while True:
            start, end = end, min(part_end(len(text), tokens, end, self._text.tokens_to_limit), end + _PART_MAX)
            until = tokens * end // len(text) if text else tokens
            self._text.receive(text[start:end], until - counted, None if start else top_logprobs)
            counted = until
            if not self._examine() or end >= len(text):
                break
        self._text.drop_tokens(tokens - counted, author)  # of text after the end of the stream
        return self._text.take_commands()

    def end(self, reason: EndReason, tokens: int = 0) -> list[Command]:
        """Receive the end of the current author's stream.

        Args:
            reason: `"stop"`: The model ended the turn. `"length"`: The model wrote as many tokens as requested.
            tokens: A correction of the number of received tokens, if the backend knows the exact number only at the
                end.
        """
        self._text.receive("", tokens)
        self._text.end_reason = reason
        if self._examine():
            self._stream_ended(reason)
        return self._text.take_commands()

    def call(self, tokens: int) -> list[Command]:
        """Receive a tool call of the current author, instead of an answer or after one.

        Args:
            tokens: The number of tokens of the call.
        """
        if self._state is State.BEGIN and not self._text.thinks:  # a call ends the start of an answer
            self._move("the answer begins")
            self._text.commit()
        self._text.count_call(tokens)
        return self._text.take_commands()

    @property
    def pending(self) -> str:
        """The text that was received but is not committed yet. A stream that broke continues after this text."""
        held = self._text.held.text
        return f"{THINK_CLOSE}{held}" if self._state is State.CLOSING else held

    @property
    def at_start(self) -> bool:
        """Whether all text so far is held because it may be a think tag. The tag is not part of the turn yet."""
        return self._state is State.BEGIN

    @property
    def gave_rest(self) -> bool:
        """Whether a takeover that is the rest of the turn has begun."""
        return self._gave_rest

    @property
    def at_boundary(self) -> bool:
        """Whether the current draft is undecided, so that the target model may replace it."""
        return self._state is State.DRAFT and not self._takeovers_stopped and self._text.kept >= self._next_takeover

    def drop_held_text(self) -> list[Command]:
        """Drop the held text, because the current command is carried out anew from the committed text on.

        Another model may carry it out, or the same model if its stream broke at the start of the turn.
        """
        self._text.drop()
        if self._state is State.CLOSING:
            self._text.close_thought()
            self._enter_answer("another model continues")
        return self._text.take_commands()

    @property
    def leading_author(self) -> Author:
        """The model that writes until the other model takes over."""
        return self._leading_author

    @property
    def short_takeovers_by(self) -> Sequence[Author]:
        """The models that the policy asks for a few tokens: for takeovers that are not the rest, or the opening."""
        if self._structured_answer and not self._thinks:
            return ()
        return [author for author in OTHER if self._policy.has_short_takeovers(author)]

    def stop_takeovers(self, *, only_short: bool = False) -> None:
        """Stop takeovers at boundaries.

        Args:
            only_short: Whether to stop only what asks the target model for a few tokens: takeovers that are not the
                rest, recaps, and, before `start`, the opening.
        """
        target_takes_over = self._leading_author != "target" and self._policy.takeover_limit is not None
        self._short_takeovers_stopped = True
        self._takeovers_stopped |= not only_short or target_takes_over

    # -- the states: each method examines the held text

    def _begin(self) -> None:
        """Treat a think tag at the start of the turn as markup, even if no thought was expected."""
        if self._text.take_think_tag() or self._text.thought_is_full:
            if self._text.kind == "answer":
                # Its author writes the thought and the answer: another request would repeat the thought.
                self._takeovers_stopped = True
                self._move("the policy has no opening" if self._text.thinks else "the answer begins")
            else:
                opening = self._text.kind == "opening"
                self._move("the policy has an opening" if opening else "the policy has no opening")
            if self._text.thought_has_no_room:
                self._text.drop()
                self._close_thought()

    def _writing(self) -> None:
        stop, head = self._text.before_terminator()
        if self._text.commit_through_boundary(head if stop else self._text.without_last_word(head)):
            self._move("a boundary arrives")
        elif stop:
            self._terminate()

    def _draft(self) -> None:
        """Hold the sentence after a boundary until a cue, its end, or a rule that needs no draft decides."""
        whole = self._text.whole_draft(self._policy.sentence_tokens) if self._rules.whole_drafts else None
        if whole:
            stop, head = whole.terminated and (self._text.in_answer or self._text.final), whole.head
        else:
            stop, head = self._text.after_boundary()
        if not head.strip() and (stop or not (whole and whole.full)):
            if stop:
                self._terminate()
        elif self._text.thought_is_long:
            self._close_thought()
        elif self._takeovers_stopped:
            self._move("takeovers are stopped")
        elif self._text.kept < self._next_takeover:
            self._move("the last takeover is too recent")
        elif self._reflections.excessive and not self._short_takeovers_stopped:
            self._end_excessive_reflection()
        elif self._policy.takeover_every_boundary and not self._after_target_step:
            self._take_over("the policy takes over at every boundary", "trigger")
        elif whole:
            self._ask_about_whole(whole)
        else:
            self._ask_trigger(head, stop=stop)

    def _ask_trigger(self, head: str, *, stop: bool) -> None:
        """Let the trigger examine a draft. `head` is the part of the held text before any terminator."""
        tokens, needs_logprobs = self._policy.sentence_tokens, self._trigger.top_logprobs > 0
        draft, complete = self._text.draft(head, tokens, self._decided_drafts, stop=stop, first_token=needs_logprobs)
        decision = decision_of(self._trigger, draft)
        if isinstance(decision, ScoreRequest):
            self._request_score(decision, head, stop=stop)
        elif isinstance(decision, Cue):
            self._decided_drafts += 1
            self._take_over_at_cue(decision)
        elif complete or (decision == "keep" and not self._lexicon.verification):
            self._decided_drafts += 1
            if decision is None and needs_logprobs and draft.first_token is None:
                self._text.note(NO_LOGPROBS)
            self._keep_draft(draft)

    def _ask_about_whole(self, draft: WholeDraft) -> None:
        """Let the trigger examine a draft of the reference implementation, when all of it arrived."""
        if not draft.complete:
            return
        found = decision_of(self._trigger, Draft(draft.text, len(draft.text), final=True, index=self._decided_drafts))
        self._decided_drafts += 1
        verifies = None if draft.terminated else self._lexicon.verifies(draft.text)
        if isinstance(found, Cue):
            majority = self._lexicon.classify(draft.text)
            if self._rules.keep_agreeing_drafts:
                self._rival = self._text.set_aside(draft)
            kind = found.kind if majority == "statement" else majority
            self._take_over("the trigger decides for a takeover", kind, found.text or None)
        elif verifies:
            self._text.commit(len(draft.head))
            self._take_over("the sentence contains a verification cue", "verification", verifies)
        else:
            self._move("the draft is kept")

    def _score(self) -> None:
        """Wait for a digit. Then commit the held step, or let the target model rewrite it."""
        step, reply = self._scored_step, self._text.held.text[:SCORE_CHARACTERS_MAX]
        digit = re.search("[0-9]", reply)
        if step is None or (digit is None and len(reply) < SCORE_CHARACTERS_MAX and not self._text.final):
            return
        self._takeovers_stopped |= self._text.end_reason == "length" and not (self._text.written or reply)
        self._scored_step = None
        self._text.hold_again(step)
        if digit and int(digit[0]) < step.threshold:
            self._take_over("the score is too low", "trigger", digit[0])
            return
        if digit is None:
            self._text.note(NO_DIGIT)
        self._keep_scored_step(step)

    def _takeover(self) -> None:
        if self._rival and not self._replaces(self._rival):
            return
        stop, head = self._text.before_terminator()
        whole_step = self._policy.takeover_tokens is None and self._text.kind in SENTENCE_KINDS
        step_ends, end = self._text.takeover_step_end(head) if whole_step else (False, None)
        if end is not None:
            self._text.commit_takeover(end)
            self._text.drop()
            self._end_takeover()
        elif stop:
            self._text.commit_takeover(len(head))
            self._terminate()
        elif not step_ends and not self._text.final and self._text.commit_takeover_words(head):
            self._text.drop()
            self._end_takeover()

    def _closing(self) -> None:
        if self._text.take_closing_space():
            if not self._shares_answer:
                self._answer_authors.asked.add(self._text.author)
            self._enter_answer("the answer begins")

    def _answer(self) -> None:
        stop, head = self._text.before_terminator()
        self._text.commit(len(head))
        if stop:
            self._terminate()

    # -- what the states decide

    def _take_over(self, cause: str, kind: Kind, cue: str | None = None) -> None:
        self._text.drop_draft(keep_indentation=not self._rules.whole_drafts)
        limit = self._policy.takeover_limit
        if limit is None:
            cause, self._takeovers_stopped, self._gave_rest = "the other model writes the rest", True, True
        elif kind == "verification":
            limit = self._policy.verification_tokens
        self._generate(cause, OTHER[self._leading_author], kind, cue, limit)

    def _take_over_at_cue(self, cue: Cue) -> None:
        if cue.kind == "relay":  # keep the cue and drop the text after it
            self._text.commit(cue.end)
            self._text.drop()
        self._take_over("the trigger decides for a takeover", cue.kind, cue.text or None)

    def _keep_draft(self, draft: Draft) -> None:
        """Keep the first sentence of a draft. If the sentence verifies, the other model takes over after it."""
        cue = self._lexicon.verifies(draft.text, draft.limit)
        self._text.commit(draft.limit)
        self._after_target_step = False
        if cue:
            self._text.drop()  # white space after it may have arrived or not: the result must be the same
            self._take_over("the sentence contains a verification cue", "verification", cue)
        else:
            self._move("the draft is kept")

    def _end_excessive_reflection(self) -> None:
        """End excessive reflection: insert the recap sentence, let the target model write, and reset the count."""
        self._text.drop_draft(keep_indentation=not self._rules.whole_drafts)
        if self._policy.recap_sentence:
            self._text.insert(self._policy.recap_sentence, "excessive_reflection")
        limit = self._reflections.reset_and_grow()
        self._generate("the thought has too many reflections", "target", "excessive_reflection", limit=limit)

    def _request_score(self, request: ScoreRequest, head: str, *, stop: bool) -> None:
        """Hold the step until its end, then let the target model score it."""
        step = self._text.take_step(head, request.threshold, stop=stop)
        if step is None:
            return
        self._decided_drafts += 1
        self._scored_step = step
        question = step.text.rstrip() + request.question
        self._generate("the trigger requests a score", "target", "score", suffix=question)

    def _keep_scored_step(self, step: ScoredStep) -> None:
        self._text.commit()
        if step.ending is None:
            self._hand_back()
            self._after_target_step = False  # the target model did not write this step
        elif step.ending != "terminator":
            self._stream_ended(step.ending)
        else:
            self._end_thought_or_turn()

    def _end_takeover(self) -> None:
        """Handle the end of a takeover: let the model verify, or hand back to the leading model."""
        sentence, is_classified = self._text.takeover_text + self._text.held.text, self._text.kind in SENTENCE_KINDS
        if is_classified and self._lexicon.verifies(sentence):
            self._text.commit()  # the same model writes on
            self._take_over("the sentence contains a verification cue", "verification", self._judge(sentence))
            return
        kept = self._text.end_takeover(whole=self._rules.exact_lengths)
        if is_classified:
            self._judge(kept)
        self._next_takeover = self._text.kept + self._policy.takeover_interval
        self._hand_back()

    def _judge(self, sentence: str) -> str | None:
        """Count the sentence after a boundary if it reflects, and return its verification cue."""
        if self._lexicon.classify(sentence) == "reflection":
            self._reflections.count += 1
        return self._lexicon.verifies(sentence)

    def _replaces(self, rival: RivalDraft) -> bool:
        """Return whether the takeover, which is over, replaces the draft that was set aside. If not, keep the draft."""
        text, kept = self._text, rival.draft.text
        if not text.final:
            return False
        self._rival = None
        sentence = text.held.text
        if sentence.strip() and self._lexicon.classify(sentence) != self._lexicon.classify(kept):
            text.drop_tokens(rival.tokens, self._leading_author)
            return True
        self._takeovers_stopped |= text.end_reason == "length" and not text.written
        text.commit_rival(rival)
        if cue := self._judge(kept):
            self._take_over("the sentence contains a verification cue", "verification", cue)
        else:
            self._next_takeover = text.kept + self._policy.takeover_interval
            self._hand_back()
        return False

    def _hand_back(self) -> None:
        at_boundary = self._text.pass_boundary()
        if at_boundary and self._text.thought_is_long:
            self._close_thought()
            return
        at_boundary &= not self._rules.skip_boundary_after_takeover
        self._after_target_step = at_boundary and self._policy.takeover_tokens is None
        self._generate_leading(
            "the leading model continues at a boundary" if at_boundary else "the leading model continues inside a step"
        )

    def _close_thought(self) -> None:
        """Close a thought that has reached its limit, and request the answer. Drop the draft, or half a word."""
        if self._rival:
            self._text.drop_tokens(self._rival.tokens, self._leading_author)
            self._rival = None
        if self._state is State.TAKEOVER:
            self._text.end_takeover()
        self._text.drop()
        self._text.close_open_thought()
        self._request_answer(self._answer_by)

    def _terminate(self) -> None:
        """Handle a terminator at the beginning of the held text."""
        text = self._text
        if not text.in_answer:
            text.take_markup(len(THINK_CLOSE))
            answers = text.author == self._answer_by and not self._structured_answer
            if self._shares_answer or answers or text.kind == "answer":
                self._move("the author closes the thought and answers")
                return
        text.drop()
        self._end_thought_or_turn()

    def _enter_answer(self, cause: str) -> None:
        """Begin the answer after the closing tag. One model writes it, or both as they wrote the thought."""
        if not self._shares_answer:
            self._move(cause)
        elif self._text.kind not in LEADING_KINDS:
            self._move("the takeover continues in the answer")
        elif self._text.pass_boundary():
            self._move("the leading model continues at a boundary")
        else:
            self._move("the leading model continues inside a step")

    def _end_thought_or_turn(self) -> None:
        """End what a terminator ends: the thought, and a model is asked for the answer; or the turn."""
        if self._text.in_answer:
            self._finish("stop")
        else:
            self._text.close_thought()
            self._request_answer(self._answer_by)

    def _stream_ended(self, reason: EndReason) -> None:
        """Continue after a stream that ended before a rule requested another one."""
        text = self._text
        if reason == "length" and self._state is State.TAKEOVER and text.remaining > text.held.tokens:
            self._takeovers_stopped |= not text.written and not text.takeover_text and not text.held.text
            self._end_takeover()
            return
        text.commit()
        author = self._answer_authors.next_author(text, reason, answering=self._state is State.ANSWER)
        if author is None:
            self._finish(reason)
            return
        if not text.in_answer:
            text.close_open_thought()
        self._request_answer(author)

    # -- requests and transitions

    def _generate_leading(self, cause: str) -> None:
        self._generate(cause, self._leading_author, "draft" if self._leading_author == "speculative" else "lead")

    def _request_answer(self, author: Author) -> None:
        begins = self._answer_may_think and not self._text.thinks and not self._shares_answer
        begins &= self._text.answer_is_blank
        self._generate("the other model begins the turn" if begins else "an answer is requested", author, "answer")

    def _generate(
        self, cause: str, author: Author, kind: Kind, cue: str | None = None, limit: int | None = None, suffix: str = ""
    ) -> None:
        """Request a stream, or finish the turn if no tokens are left."""
        top_logprobs = self._trigger.top_logprobs if kind == "draft" and not self._takeovers_stopped else 0
        if self._text.request(author, kind, cue, limit, suffix, top_logprobs):
            self._move(cause)
        else:
            self._finish("length")

    def _finish(self, reason: EndReason) -> None:
        self._text.finish(reason)
        self._move("the turn ends")

    def _move(self, cause: str) -> None:
        """Change the state as the table says. No other method changes it."""
        next_state = TRANSITIONS[self._state].get(cause)
        if next_state is None:
            msg = f"internal error: TRANSITIONS has no transition from {self._state.name} for {cause!r}"
            raise AssertionError(msg)
        self._state = next_state

    @property
    def _thought_is_full(self) -> bool:
        """Whether the thought must be closed now. The text of a score does not belong to the thought."""
        return self._state in _LIMITED and self._text.thought_is_full

    def _examine(self) -> bool:
        """Let the state examine the held text, then the next state, until more text or a new stream is necessary.

        Returns:
            Whether the stream goes on: no method requested another one or finished the turn.
        """
        generation, examined = self._text.generation, None
        while generation and generation is self._text.generation and examined is not self._state:
            examined = self._state
            self._EXAMINE[examined](self)
        if generation and generation is self._text.generation and self._thought_is_full:
            self._close_thought()
        return generation is not None and generation is self._text.generation

    _EXAMINE: ClassVar[Mapping[State, Callable[[Delegation], None]]] = {
        State.BEGIN: _begin,
        State.WRITING: _writing,
        State.DRAFT: _draft,
        State.SCORE: _score,
        State.TAKEOVER: _takeover,
        State.CLOSING: _closing,
        State.ANSWER: _answer,
    }
    """The methods that examine the held text. No text arrives before the turn starts and after it is over."""

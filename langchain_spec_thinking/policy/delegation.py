r"""The policy: a pure state machine that decides who writes next and what becomes of it.

All states and all transitions of Speculative Thinking (arXiv:2504.12329) live in this file. Text goes in, commands come
out. It knows no model, no network, no clock. Its commands depend on the text alone, not on how it was cut into chunks.
`TurnText` commits and drops text as it is told, and remembers what must be known of it.

The state is the method that looks at text next (`self._step`):

    _begin -> _free <-> _draft (-> _score) -> _takeover -> _free ...      while delegating
                \__________\______________________\__-> _closing -> _answer

    _begin     the first characters of the turn, which may open a thought
    _free      the model that leads writes, in the middle of a step: the speculative one, but for `TargetLeads`
    _draft     it writes right after a boundary; its text is held until a rule has decided
    _score     the target says how good a step is that is held
    _takeover  the other model writes
    _closing   the white space after the tag that closes the thought
    _answer    one model writes the answer, whole
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from langchain_spec_thinking.policy.boundary import Boundary
from langchain_spec_thinking.policy.commands import Command, EndReason, Finish, Generate, Kind, Note
from langchain_spec_thinking.policy.cues import Cue
from langchain_spec_thinking.policy.endings import WORD_MAX, indentation, last_word
from langchain_spec_thinking.policy.reflections import Reflections
from langchain_spec_thinking.policy.scored_step import NO_DIGIT, SCORE_TOKENS, ScoredStep
from langchain_spec_thinking.policy.triggers import NO_LOGPROBS, Draft, ScoreRequest
from langchain_spec_thinking.policy.turn_text import TurnText
from langchain_spec_thinking.turn import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_spec_thinking.policy.settings import DelegationPolicy
    from langchain_spec_thinking.turn import Author

    Step = Callable[[bool], bool]
    """Looks at the held text; `final` says that nothing follows it. True where the next state is to look on."""

_SENTENCE_KINDS = ("affirmation", "reflection", "trigger", "relay")
"""Takeovers that write the sentence after a boundary, which is then classified itself."""
_LEADING: dict[Author, Kind] = {"speculative": "draft", "target": "lead"}
"""What a model writes that nobody has taken over from."""


class Delegation:
    """The state machine of one turn.

    Call `start` once. While the last `Generate` command is being carried out, pass what its author writes to `receive`
    and why it ended to `end`. A new `Generate` or a `Finish` among the returned commands ends the running stream.

    Args:
        policy: The numbers of the method.
        thinks: A model of the pair is a reasoning model: the turn begins inside a thought. Otherwise there is no
            thought to delegate in (unless a model opens one), and the steps of the answer are delegated instead.
        answer_by: Who writes the answer once the thought is closed.
        max_tokens: Limit of the text kept, in tokens of whoever wrote it.
        stop: Strings that end the answer.
        structured_answer: The answer is asked for by itself and written by one model, also where there is no thought.
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
        self._lead: Author = policy.trigger.lead
        self._boundary = Boundary(policy.boundary)
        self._thinks = thinks
        self._answer_by: Author = answer_by
        self._structured_answer = structured_answer
        self._commands: list[Command] = []
        self._text = TurnText(self._commands, self._boundary, stop, max_tokens)
        self._alone = False  # the target is out of it: no room left in its context, or gone
        self._sentence = ""  # what the current takeover has committed
        self._drafts = 0  # decided
        self._reflections = Reflections(policy)
        self._spared = False  # the draft at hand follows a whole step of the target
        self._judged: ScoredStep | None = None  # the step that the target is asked about
        self._end_reason: EndReason = "stop"  # of the stream that has just ended
        self._answered: set[Author] = set()  # who was asked for the answer
        self._step: Step = self._free
        self._after_begin: Step = self._free

    # -- what the driver calls

    def start(self) -> list[Command]:
        """Begin the turn."""
        if self._thinks:
            self._text.open_thought()
        elif self._structured_answer:
            self._generate(self._answer_by, None, "answer", None, self._answer)
            return self._flush()
        if self._policy.opening_tokens:
            self._generate("target", self._policy.opening_tokens, "opening", None, self._takeover)
        else:
            self._go_on(self._free)
        self._after_begin, self._step = self._step, self._begin
        return self._flush()

    def receive(self, text: str, tokens: int = 1, top_logprobs: tuple[float, ...] | None = None) -> list[Command]:
        """Take in what the current author wrote.

        Args:
            text: A piece of any size.
            tokens: How many tokens it cost.
            top_logprobs: Log-probabilities of the likeliest tokens in the place of its first, where the command asked
                for them and it does not begin inside a token.
        """
        self._text.receive(text, tokens, top_logprobs)
        self._advance(final=False)
        return self._flush()

    def end(self, reason: EndReason, tokens: int = 0) -> list[Command]:
        """Take in that the current author's stream ended.

        Args:
            reason: `"stop"`: the model ended the turn; `"length"`: it wrote as many tokens as it was asked for.
            tokens: A late correction of the tokens received, where the backend counts better at the end.
        """
        self._text.receive("", tokens)
        self._end_reason = reason
        generation = self._text.generation
        self._advance(final=True)
        if generation is not None and generation is self._text.generation:
            self._ended(generation, reason)
        return self._flush()

    def call(self, tokens: int) -> list[Command]:
        """Take in that the current author made a tool call, in place of an answer or after one.

        Args:
            tokens: What it cost.
        """
        self._text.call(tokens)
        return self._flush()

    @property
    def pending(self) -> str:
        """What was received but is not committed yet; a stream that broke goes on after it."""
        held = self._text.held.text
        return f"{THINK_CLOSE}{held}" if self._step == self._closing else held

    @property
    def at_boundary(self) -> bool:
        """Whether a draft is looked at, which the target may replace."""
        return self._step == self._draft and not self._alone

    def abandon(self) -> list[Command]:
        """Take in that somebody else carries out the current command, from the committed text on."""
        self._text.drop()
        if self._step == self._closing:
            self._text.close_thought()
            self._step = self._answer
        return self._flush()

    def go_alone(self) -> None:
        """Ask for the target no more at boundaries."""
        self._alone = True

    # -- the states

    def _begin(self, final: bool) -> bool:  # noqa: FBT001 - the signature of a Step
        """Take a think tag at the very start for what it is, however the model came to write it."""
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
        self._step = self._after_begin
        return True

    def _free(self, final: bool) -> bool:  # noqa: FBT001
        stop, head = self._text.before_terminator(final=final)
        boundary = self._boundary.search(self._text.tail, head)
        if boundary:
            self._text.commit(boundary[1])
            self._text.tail = ""
            self._step = self._draft
            return True
        self._text.commit(len(head))
        return self._terminate() if stop else False

    def _draft(self, final: bool) -> bool:  # noqa: FBT001
        """Hold the sentence after a boundary until a cue, its end, or a rule that needs no draft has decided."""
        stop, head = self._text.before_terminator(final=final)
        extension = self._boundary.extension(head)
        self._text.commit(extension)
        head = head[extension:]
        if not head.strip():
            if final or stop:
                self._text.commit(len(head))
            return self._terminate() if stop else False
        if self._alone:
            self._step = self._free
            return True
        if self._reflections.excessive:
            return self._recap()
        if self._policy.takeover_every_boundary and not self._spared:
            return self._take_over("trigger", None)
        return self._decide(head, final=final, stop=stop)

    def _decide(self, head: str, *, final: bool, stop: bool) -> bool:
        """Let the trigger look at a draft, of which `head` is certainly before any terminator."""
        end = self._boundary.sentence_end(head, self._policy.sentence_tokens, last=stop or final)
        limit = len(head) if end is None else end
        seen = self._text.held.text[: limit + 1]
        before = limit - self._boundary.begun(head) if end is None else end  # a boundary's token tells of no word
        first = self._text.held.first_token(before) if self._trigger.top_logprobs else None
        decision = self._trigger.examine(Draft(seen, limit, final, self._drafts, first))
        if isinstance(decision, ScoreRequest):
            return self._request_score(decision, head, final=final, stop=stop)
        certain = isinstance(decision, Cue) or (decision == "keep" and not self._lexicon.verification)
        if not certain and end is None:
            return False
        self._drafts += 1
        if isinstance(decision, Cue):
            return self._hand_over(decision)
        if decision is None and self._trigger.top_logprobs and first is None:
            self._commands.append(Note(NO_LOGPROBS))
        verifying = self._lexicon.verifies(seen, limit)
        self._text.commit(limit)
        self._spared = False
        if verifying:
            self._text.drop()  # at once: white space after the sentence is there or not, as it happened to arrive
            return self._take_over("verification", verifying)
        self._step = self._free
        return True

    def _score(self, final: bool) -> bool:  # noqa: FBT001
        """Wait for a digit; then the step that is held was its author's, or is nobody's."""
        digit = re.search("[0-9]", self._text.held.text)
        judged = self._judged
        if judged is None or (digit is None and not final):
            return False
        self._alone |= final and self._end_reason == "length" and not self._text.written
        self._text.drop()
        self._judged = None
        self._text.generation, self._text.written = judged.generation, judged.written
        self._text.held.add(judged.text, judged.tokens)
        if digit and int(digit[0]) < judged.threshold:
            return self._take_over("trigger", digit[0])
        if digit is None:
            self._commands.append(Note(NO_DIGIT))
        self._text.commit()
        if judged.ending is None:
            self._hand_back()
            self._spared = False  # the step was not the target's
        elif judged.ending != "terminator":
            self._ended(judged.generation, judged.ending)
        elif self._text.in_answer:
            self._finish("stop")
        else:
            self._have_answered()
        return False

    def _takeover(self, final: bool) -> bool:  # noqa: FBT001
        stop, head = self._text.before_terminator(final=final)
        if self._policy.takeover_tokens is None and self._text.kind in _SENTENCE_KINDS:
            # White space that a step begins with does not end it.
            begun = bool(self._sentence.strip())
            skip = 0 if begun else len(head) - len(head.lstrip())
            boundary = self._boundary.search(self._text.tail if begun else "", head[skip:])
            if boundary:
                end = skip + boundary[1]
                end += self._boundary.extension(head[end:])
                if head[end:].strip() or final:
                    self._sentence += self._text.commit(end + indentation(head[end:]))
                    self._text.drop()
                    return self._sentence_done()
                if not stop:
                    return False
        if stop:
            self._text.commit(len(head))
            return self._terminate()
        if not final:  # the last word may go on, and is dropped if another model has to finish it
            context = self._sentence[-WORD_MAX - 2 :]
            self._sentence += self._text.commit(max(0, last_word(context + head) - len(context)))
        return False

    def _closing(self, final: bool) -> bool:  # noqa: FBT001
        held = self._text.held.text
        answer = held.lstrip()
        if not answer and not final:
            return False
        space = held[: len(held) - len(answer)]
        self._text.take_markup(len(space))
        self._text.close_thought(THINK_CLOSE + space)
        self._answered.add(self._text.author)
        self._step = self._answer
        return True

    def _answer(self, final: bool) -> bool:  # noqa: FBT001
        stop, head = self._text.before_terminator(final=final)
        self._text.commit(len(head))
        return self._terminate() if stop else False

    # -- transitions

    def _take_over(self, kind: Kind, cue: str | None) -> bool:
        tokens = self._policy.verification_tokens if kind == "verification" else self._policy.takeover_limit
        self._text.drop_draft()
        self._generate("target" if self._lead == "speculative" else "speculative", tokens, kind, cue, self._takeover)
        return False

    def _hand_over(self, cue: Cue) -> bool:
        if cue.kind == "relay":  # the cue stays; what came after it does not, however much that is
            self._text.commit(cue.end)
            self._text.drop()
        return self._take_over(cue.kind, cue.text or None)

    def _request_score(self, request: ScoreRequest, head: str, *, final: bool, stop: bool) -> bool:
        """Hold the step to its end, then let the target score it."""
        end = self._boundary.step_end(head, last=final or stop)
        if end is None or self._text.generation is None:
            return False
        self._drafts += 1
        ending: Literal["terminator"] | EndReason | None = None
        if end == len(head):
            ending = "terminator" if stop else self._end_reason if final else None
        text, tokens = self._text.held.take(end)
        self._text.drop()
        self._judged = ScoredStep(text, tokens, self._text.generation, self._text.written, request.threshold, ending)
        self._generate("target", None, "score", None, self._score, text.rstrip() + request.question)
        return False

    def _recap(self) -> bool:
        """Cut off excessive reflection: insert the auxiliary sentence, let the target look back, count anew."""
        sentence = self._policy.recap_sentence
        self._text.drop_draft()
        if sentence:
            self._text.insert(sentence, "excessive_reflection")
        self._generate("target", self._reflections.cut_off(), "excessive_reflection", None, self._takeover)
        return False

    def _sentence_done(self) -> bool:
        """The target has written what it was asked for: let it verify, or hand back."""
        sentence = self._sentence + self._text.held.text
        if self._text.kind in _SENTENCE_KINDS:
            if self._lexicon.classify(sentence) == "reflection":
                self._reflections.count += 1
            cue = self._lexicon.verifies(sentence)
            if cue:
                self._text.commit()
                return self._take_over("verification", cue)
        self._text.commit_whole_words(self._sentence)
        self._hand_back()
        return False

    def _hand_back(self) -> None:
        at_boundary = self._boundary.closes(self._text.tail)
        self._spared = at_boundary and self._policy.takeover_tokens is None
        if at_boundary:
            self._text.tail = ""
        self._go_on(self._draft if at_boundary else self._free)

    def _go_on(self, step: Step) -> None:
        self._generate(self._lead, None, _LEADING[self._lead], None, step)

    def _have_answered(self) -> None:
        self._text.close_thought()
        self._generate(self._answer_by, None, "answer", None, self._answer)

    def _terminate(self) -> bool:
        """Handle the terminator that the held text begins with."""
        if self._text.in_answer:
            self._text.drop()
            self._finish("stop")
            return False
        self._text.take_markup(len(THINK_CLOSE))
        if self._text.author == self._answer_by and not self._structured_answer:
            self._step = self._closing
            return True
        self._text.drop()
        self._have_answered()
        return False

    def _ended(self, generation: Generate, reason: EndReason) -> None:
        """Go on from a stream that ended without a rule having decided anything."""
        text = self._text
        if reason == "length" and self._step == self._takeover and text.remaining > text.held.tokens:
            self._alone |= not text.written and not self._sentence and not text.held.text
            self._sentence_done()
            return
        text.commit()
        author = self._answers_next(generation, reason)
        if author is None:
            self._finish(reason)
            return
        if not text.in_answer:
            text.close_open_thought()
        self._generate(author, None, "answer", None, self._answer)

    def _answers_next(self, generation: Generate, reason: EndReason) -> Author | None:
        """Return who is to answer, or to go on answering, after a stream that ended; None where the turn is over."""
        text = self._text
        if reason == "length":
            if text.remaining <= 0:
                return None
            if not text.in_answer:
                # The author's context is full, or its server gives less than was asked for: the other one answers.
                other: Author = "target" if generation.author == "speculative" else "speculative"
                return other if text.written < generation.max_tokens else None
            # A takeover in which the target closed the thought and began the answer goes on with the answer.
            began_it = self._step == self._answer and generation.kind not in {"answer", "draft", "lead"}
            return generation.author if began_it else None
        if not text.in_answer:
            return self._answer_by
        self._answered.add(generation.author)
        others: list[Author] = [a for a in ("speculative", "target") if a not in self._answered]
        return others[0] if text.blank and others else None

    # -- small things

    def _advance(self, *, final: bool) -> None:
        while self._step(final):
            pass

    def _generate(
        self, author: Author, limit: int | None, kind: Kind, cue: str | None, step: Step, prompt_suffix: str = ""
    ) -> None:
        remaining = self._text.remaining
        if remaining <= 0:
            self._finish("length")
            return
        room = SCORE_TOKENS if kind == "score" else remaining  # a score is no text of the turn
        tokens = room if limit is None else min(limit, room)
        top_logprobs = self._trigger.top_logprobs if kind == "draft" and not self._alone else 0
        command = Generate(author, tokens, kind, cue, prompt_suffix, top_logprobs)
        self._commands.append(command)
        self._text.generation, self._text.written = command, 0
        self._sentence = ""
        self._step = step

    def _finish(self, reason: EndReason) -> None:
        self._commands.append(Finish(reason))
        self._text.generation = None
        self._step = _done

    def _flush(self) -> list[Command]:
        commands = self._commands.copy()
        self._commands.clear()
        return commands


def _done(final: bool) -> bool:  # noqa: FBT001, ARG001 - the signature of a Step
    return False

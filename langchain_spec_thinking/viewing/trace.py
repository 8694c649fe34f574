"""One finished turn, texts and all: kept in a file, drawn on a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.messages import history_of
from langchain_spec_thinking.report import Dropped, Report, Segment
from langchain_spec_thinking.tools import ToolCall
from langchain_spec_thinking.viewing.page import fragment, page

if TYPE_CHECKING:
    from os import PathLike

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking.drivers import Run
    from langchain_spec_thinking.turn import Channel

_VERSION = 1


@dataclass(frozen=True)
class Trace:
    """A turn that is over: what was asked, thought and answered, by whom, why, and what was dropped on the way.

    A notebook draws it as the last value of a cell. It holds the conversation's last message and nothing else of the
    conversation, no settings and no keys.

    ```python
    message = model.invoke("What is 17 * 23?")
    trace = Trace.of(message, question="What is 17 * 23?")
    trace.save("run.json")  # and then: spec-thinking show run.json --html
    ```

    Attributes:
        thinking: All that was thought.
        answer: All that was answered.
        report: Who wrote what, and what it cost.
        question: What was asked.
        model_name: Both models' names.
        finish_reason: Why the turn ended.
        calls: Tools that were called.
    """

    thinking: str
    answer: str
    report: Report
    question: str = ""
    model_name: str = ""
    finish_reason: str = ""
    calls: tuple[ToolCall, ...] = ()

    @classmethod
    def of(cls, message: AIMessage, question: str = "") -> Trace:
        """Read a message of `ChatSpeculativeThinking`, however it was come by.

        Args:
            message: What `invoke` returned, or the sum of what `stream` brought.
            question: What was asked; the message does not know.

        Raises:
            ValueError: The message holds no report.
        """
        metadata = message.response_metadata
        if "speculative_thinking" not in metadata:
            told = ", ".join(sorted(metadata)) or "nothing"
            msg = f"expected a message of ChatSpeculativeThinking; this one's response_metadata holds {told}"
            raise ValueError(msg)
        [plain] = history_of([message])
        return cls(
            thinking="".join(b["reasoning"] for b in message.content_blocks if b["type"] == "reasoning"),
            answer=plain.content,
            report=Report.from_dict(metadata["speculative_thinking"]),
            question=question,
            model_name=metadata.get("model_name", ""),
            finish_reason=metadata.get("finish_reason", ""),
            calls=plain.tool_calls,
        )

    @classmethod
    def of_run(cls, run: Run, model_name: str) -> Trace:
        """Read a turn that was driven by hand, as far as it came."""
        turn = run.turn
        return cls(
            thinking=turn.thinking,
            answer=turn.answer,
            report=run.report,
            question=turn.history[-1].content,
            model_name=model_name,
            finish_reason=run.finish_reason,
            calls=tuple(turn.calls),
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write a JSON file."""
        texts = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _OBJECTS}
        calls = [asdict(call) for call in self.calls]
        held = {"version": _VERSION, **texts, "calls": calls, "speculative_thinking": self.report.as_dict()}
        Path(path).write_text(json.dumps(held, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Trace:
        """Read what `save` wrote.

        Raises:
            ValueError: It did not write that.
        """
        try:
            held: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            if held.pop("version") != _VERSION:
                raise ValueError  # noqa: TRY301 - as unreadable as the rest
            report = Report.from_dict(held.pop("speculative_thinking"))
            calls = tuple(ToolCall(**call) for call in held.pop("calls"))
            return cls(report=report, calls=calls, **held)
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            msg = f"{path}: expected what Trace.save or `spec-thinking chat --save` of this version writes"
            raise ValueError(msg) from e

    def pieces(self, channel: Channel) -> list[tuple[Segment | Dropped, str]]:
        """Return what was written in a channel, in order, with its text; what was dropped stands where it was."""
        text = self.thinking if channel == "thinking" else self.answer
        dropped = [piece for piece in self.report.dropped if piece.channel == channel]
        pieces: list[tuple[Segment | Dropped, str]] = []
        for segment in self.report.segments:
            if segment.channel != channel:
                continue
            while dropped and dropped[0].at <= segment.start:
                pieces.append((dropped[0], dropped.pop(0).text))
            pieces.append((segment, text[segment.start : segment.end]))
        return [*pieces, *((piece, piece.text) for piece in dropped)]

    def html(self) -> str:
        """Draw the turn as a page of its own, which needs nothing from anywhere."""
        return page(self)

    def _repr_html_(self) -> str:
        return fragment(self)


_OBJECTS = {"report", "calls"}

"""A finished turn with its texts, which can be saved to a file or shown on a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_spec_thinking.json_values import read_json
from langchain_spec_thinking.messages import history_of
from langchain_spec_thinking.report import Dropped, Report, Segment
from langchain_spec_thinking.tools import ToolCall
from langchain_spec_thinking.viewing.page import fragment, page

if TYPE_CHECKING:
    from os import PathLike

    from langchain_core.messages import AIMessage

    from langchain_spec_thinking.recording.record import Record
    from langchain_spec_thinking.turn import Channel
    from langchain_spec_thinking.turn_runs import AnyRun

_VERSION = 2
"""Version of the format that `Trace.save` writes. In version 1, `degraded` was None or a string instead of a list."""


@dataclass(frozen=True)
class Trace:
    """A finished turn: the question, the thought, the answer, the author of each part, and the dropped drafts.

    A notebook shows a trace as a page if the trace is the last value of a cell. A trace holds the last message of the
    conversation, no other messages, no settings and no keys.

    ```python
    message = model.invoke("What is 17 * 23?")
    trace = Trace.of(message, question="What is 17 * 23?")
    trace.save("run.json")  # and then: spec-thinking show run.json --html
    ```

    Attributes:
        thinking: The whole thought.
        answer: The whole answer.
        report: Who wrote which part and why, and the usage of each model.
        question: The last message of the conversation.
        model_name: Names of both models.
        finish_reason: Why the turn ended.
        calls: Tool calls of the answer.
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
        """Make a trace from a message of `ChatSpeculativeThinking`.

        Args:
            message: The message that `invoke` returned, or the sum of the chunks that `stream` yielded.
            question: The question, which is not part of the message.

        Raises:
            ValueError: The message holds no report.
        """
        metadata = message.response_metadata
        if "speculative_thinking" not in metadata:
            keys = sorted(metadata)
            msg = (
                "expected a message of ChatSpeculativeThinking, got a message whose response_metadata has only the "
                f"keys {keys}"
            )
            raise ValueError(msg)
        [plain] = history_of([message])
        return cls(
            thinking="".join(b["reasoning"] for b in message.content_blocks if b["type"] == "reasoning"),
            answer=str(message.text),  # all of it: a think tag in our answer is part of the answer
            report=Report.from_dict(metadata["speculative_thinking"]),
            question=question,
            model_name=metadata.get("model_name", ""),
            finish_reason=metadata.get("finish_reason", ""),
            calls=plain.tool_calls,
        )

    @classmethod
    def of_run(cls, run: AnyRun, model_name: str) -> Trace:
        """Make a trace from a run that you drive yourself. The run need not be finished."""
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

    @classmethod
    def of_record(cls, record: Record) -> Trace:
        """Make a trace from a recorded turn, finished or not.

        ```python
        trace = Trace.of_record(read_records("runs.jsonl")[-1])
        ```

        Args:
            record: One of the records that `read_records` returns. A record without texts gives a trace without texts.
        """
        return cls(
            thinking=record.thinking,
            answer=record.answer,
            report=Report.from_dict(record.report),
            question=record.history[-1].content,
            model_name=record.model["model_name"],
            finish_reason=record.finish_reason or "",
            calls=record.calls,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trace to a JSON file."""
        texts = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _OBJECTS}
        calls = [asdict(call) for call in self.calls]
        data = {"version": _VERSION, **texts, "calls": calls, "speculative_thinking": self.report.as_dict()}
        Path(path).write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Trace:
        """Read a trace from a file that `save` wrote.

        Raises:
            ValueError: The file is not in the format of `save`. For other files of this package, the message says what
                they are and what reads them.
        """
        try:
            data: dict[str, Any] = read_json(Path(path).read_text(encoding="utf-8"))
            if data.pop("version") not in {1, _VERSION}:
                raise ValueError  # noqa: TRY301 - the handler below raises the same error for all unreadable files
            report = Report.from_dict(data.pop("speculative_thinking"))
            calls = tuple(ToolCall(**call) for call in data.pop("calls"))
            texts = [*data.values(), *(text for call in calls for text in asdict(call).values())]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError  # noqa: TRY301 - as above
            return cls(report=report, calls=calls, **data)
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            found = _other_file(Path(path))
            msg = f"{path}: expected a file written by Trace.save or `spec-thinking chat --save` of this version{found}"
            raise ValueError(msg) from e

    def pieces(self, channel: Channel) -> list[tuple[Segment | Dropped, str]]:
        """Return the segments and dropped drafts of a channel with their texts, in the order of the text."""
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
        """Return the turn as a complete HTML page that loads no other files."""
        return page(self)

    def _repr_html_(self) -> str:
        return fragment(self)


_OBJECTS = {"report", "calls"}
_RECORDED = "streams"
"""A key that only a record has."""
_OTHER_FILES = {
    "variant": (
        ", got the runs of `spec-thinking evaluate`. The commands `spec-thinking calibrate cues --runs` and "
        "`spec-thinking calibrate sweep --runs` read such a file, and so does the function "
        "langchain_spec_thinking.evaluation.runs.read_runs"
    ),
    _RECORDED: (
        ", got recorded turns (`recording`, or `spec-thinking chat --record`). `spec-thinking show` shows them. The "
        "function langchain_spec_thinking.read_records reads such a file, and Trace.of_record makes a trace of a record"
    ),
}
"""Descriptions of the other files of this package, each by a key that only such a file has in its first line."""


def holds_records(path: str | PathLike[str]) -> bool:
    """Return whether `recording` wrote a file. Only the first line is read.

    Raises:
        OSError: The file cannot be read.
    """
    return _RECORDED in _first_object(Path(path))


def _other_file(path: Path) -> str:
    """Return a description of another file of this package. Empty if the file is something else."""
    first = _first_object(path)
    return next((words for key, words in _OTHER_FILES.items() if key in first), "")


def _first_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in the first line of a file. Empty if there is none."""
    try:
        with path.open(encoding="utf-8") as file:
            first = read_json(file.readline())
    except ValueError:
        return {}
    return first if isinstance(first, dict) else {}

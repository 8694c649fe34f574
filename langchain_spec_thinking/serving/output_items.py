"""The items of a reply in the form of OpenAI's Responses API: thoughts, messages and calls, and the events of each.

An item is added, written piece by piece, and done. A thought and a message hold their text in one part, which is added
and done too. The arguments of a call have no part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

Status = Literal["completed", "incomplete"]


@dataclass(frozen=True, slots=True)
class PartForm:
    """How an item holds its text in a part.

    Attributes:
        field: The field of the item that lists its parts.
        index: The field of an event that says which part it concerns.
        events: Prefix of the event types of a part.
        fields: The fields of a part, besides its text.
    """

    field: str
    index: str
    events: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ItemForm:
    """How a type of items is written.

    Attributes:
        prefix: Prefix of the ids of the items.
        fields: The fields of an item besides its id, its status and its text.
        text: The field of the item, or of the last event of its text, that holds the text.
        events: Prefix of the event types of the text.
        part: How the text is held in a part. None: the item holds the text itself.
        event_fields: Further fields of the events of the text.
    """

    prefix: str
    fields: dict[str, Any]
    text: str
    events: str
    part: PartForm | None
    event_fields: dict[str, Any] = field(default_factory=dict)


THOUGHT = ItemForm(
    prefix="rs",
    fields={"type": "reasoning"},
    text="text",
    events="response.reasoning_summary_text",
    part=PartForm("summary", "summary_index", "response.reasoning_summary_part", {"type": "summary_text"}),
)
MESSAGE = ItemForm(
    prefix="msg",
    fields={"type": "message", "role": "assistant"},
    text="text",
    events="response.output_text",
    part=PartForm(
        "content",
        "content_index",
        "response.content_part",
        {"type": "output_text", "annotations": [], "logprobs": []},
    ),
    event_fields={"logprobs": []},
)
CALL = ItemForm(
    prefix="fc",
    fields={"type": "function_call"},
    text="arguments",
    events="response.function_call_arguments",
    part=None,
)


class OutputItem:
    """One item of a reply.

    Args:
        form: How items of its type are written.
        index: Which item of the reply this is.
        fields: Further fields of this item.
    """

    def __init__(self, form: ItemForm, index: int, **fields: Any) -> None:
        self.form = form
        self._common = {"id": f"{form.prefix}_{uuid4().hex}", **form.fields, **fields}
        self._of_event = {"item_id": self._common["id"], "output_index": index}
        self._index = index
        self._text = ""

    def begin(self) -> Iterator[dict[str, Any]]:
        """Yield the events that add the item."""
        empty: dict[str, Any] = {self.form.part.field: []} if self.form.part else {self.form.text: ""}
        item = {**self._common, "status": "in_progress", **empty}
        yield {"type": "response.output_item.added", "output_index": self._index, "item": item}
        yield from self._part_event("added")

    def write(self, text: str) -> Iterator[dict[str, Any]]:
        """Add text to the item and yield the event of it."""
        if text:
            self._text += text
            yield self._text_event("delta", {"delta": text})

    def finish(self, status: Status) -> Iterator[dict[str, Any]]:
        """Yield the events that end the item."""
        yield self._text_event("done", {self.form.text: self._text})
        yield from self._part_event("done")
        yield {"type": "response.output_item.done", "output_index": self._index, "item": self.content(status)}

    def content(self, status: Status) -> dict[str, Any]:
        """Return the item with its text."""
        text = {self.form.part.field: [self._part(self.form.part)]} if self.form.part else {self.form.text: self._text}
        return {**self._common, "status": status, **text}

    def _text_event(self, what: str, fields: dict[str, Any]) -> dict[str, Any]:
        return {"type": f"{self.form.events}.{what}", **self._place(), **self.form.event_fields, **fields}

    def _part_event(self, what: str) -> Iterator[dict[str, Any]]:
        if part := self.form.part:
            yield {"type": f"{part.events}.{what}", **self._place(), "part": self._part(part)}

    def _place(self) -> dict[str, Any]:
        return {**self._of_event, **({self.form.part.index: 0} if self.form.part else {})}

    def _part(self, part: PartForm) -> dict[str, Any]:
        return {**part.fields, "text": self._text}

"""The words with which a model refuses to answer. Some services send them apart from the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.replies.message_parts import MessageParts


class RefusalReader:
    """Collects the refusal of a reply. It is the text of the reply if there is no other text.

    Attributes:
        refusal: The refusal so far. Empty if the model does not refuse.
    """

    def __init__(self) -> None:
        self.refusal = ""
        self._has_text = False

    def note_text(self, text: str) -> None:
        """Note text that comes without any part of a refusal."""
        self._has_text = self._has_text or bool(text.strip())

    def read(self, found: MessageParts) -> tuple[str, str]:
        """Read a part of the reply.

        Returns:
            The text to show, and the part of the refusal that is not shown, because text came before it.
        """
        self.note_text(found.text)
        self.refusal += found.refusal
        return (found.text, found.refusal) if self._has_text else (f"{found.text}{found.refusal}", "")


def refusal_note(name: str) -> str:
    """Say that a model refuses to answer.

    Args:
        name: The name of the model.
    """
    return f"{name} refused to answer"

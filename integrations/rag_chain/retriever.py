"""A retriever without a model. It uses BM25, the usual measure of how well a text matches the words of a question."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document

_SATURATION, _LENGTH = 1.5, 0.75
"""The parameters k1 and b of BM25 (Robertson and Zaragoza 2009).

With a lower k1, repetitions of a word add less. With a higher b, the length of a document counts more.
"""


class BM25Retriever(BaseRetriever):
    """Finds the documents that share rare words with a question. Rare words count more than common ones.

    Args:
        documents: The documents to search.
        k: Maximum number of documents to return. Documents without any word of the question are never returned.
    """

    k: int = 4
    _documents: list[Document] = PrivateAttr()
    _counts: list[Counter[str]] = PrivateAttr()
    _weights: dict[str, float] = PrivateAttr()

    def __init__(self, documents: Sequence[Document], **settings: Any) -> None:
        super().__init__(**settings)
        self._documents = list(documents)
        self._counts = [Counter(_words(document.page_content)) for document in documents]
        document_counts = Counter(word for counts in self._counts for word in counts)
        total = len(documents)
        self._weights = {word: math.log(1 + (total - n + 0.5) / (n + 0.5)) for word, n in document_counts.items()}

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - the interface requires it
    ) -> list[Document]:
        mean = sum(counts.total() for counts in self._counts) / max(1, len(self._counts))
        scores = [self._score(_words(query), counts, mean) for counts in self._counts]
        best = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[: self.k]
        return [self._documents[i] for i in best if scores[i] > 0]

    def _score(self, words: Sequence[str], counts: Counter[str], mean: float) -> float:
        length_norm = _SATURATION * (1 - _LENGTH + _LENGTH * counts.total() / mean)
        return sum(
            self._weights[word] * counts[word] * (_SATURATION + 1) / (counts[word] + length_norm)
            for word in set(words)
            if word in counts
        )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())

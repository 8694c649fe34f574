"""A chain that answers questions about a folder of documents, with a pair that reads the passages that match best."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from integrations.rag_chain.retriever import BM25Retriever
from integrations.watch_agent import pair_parser
from langchain_spec_thinking import ChatSpeculativeThinking

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_core.runnables import Runnable

    from langchain_spec_thinking import Backend

DOCUMENTS = Path(__file__).parents[2] / "docs"
QUESTION = "What happens when the target cannot be reached in the middle of a turn?"
PROMPT = ChatPromptTemplate(
    [
        ("system", "Answer from these passages alone, and say which you used by their numbers.\n\n{passages}"),
        ("user", "{question}"),
    ]
)


def passages(folder: Path) -> list[Document]:
    """Split the pages of a folder into paragraphs. Each paragraph has its heading and the name of its page."""
    documents = []
    for page in sorted(folder.rglob("*.md")):
        heading = ""
        for paragraph in page.read_text(encoding="utf-8").split("\n\n"):
            if paragraph.startswith("#"):
                heading = paragraph.lstrip("# ").splitlines()[0]
            elif paragraph.strip():
                documents.append(Document(f"{heading}: {paragraph.strip()}", metadata={"page": page.name}))
    return documents


def format_passages(found: Iterable[Document]) -> str:
    """Return one text that contains all passages with their numbers and pages."""
    return "\n\n".join(f"[{i}] ({d.metadata['page']}) {d.page_content}" for i, d in enumerate(found, 1))


def build(
    speculative: Backend | str, target: Backend | str, folder: Path = DOCUMENTS, k: int = 4, **settings: Any
) -> Runnable[str, dict[str, Any]]:
    """Make the chain. It returns a dict with the question, the passages found and the answer message."""
    model = ChatSpeculativeThinking(speculative=speculative, target=target, **settings)
    answer = RunnablePassthrough.assign(passages=lambda x: format_passages(x["found"])) | PROMPT | model
    found = itemgetter("question") | BM25Retriever(passages(folder), k=k)
    return {"question": RunnablePassthrough()} | RunnablePassthrough.assign(found=found).assign(answer=answer)


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer a question from the command line, and print the passages that were found."""
    parser = pair_parser(build.__doc__, QUESTION)
    parser.add_argument("--folder", type=Path, default=DOCUMENTS)
    given = parser.parse_args(arguments)
    result = build(given.speculative, given.target, given.folder).invoke(given.question)
    print(result["answer"].text)
    for i, passage in enumerate(result["found"], 1):
        print(f"[{i}] {passage.metadata['page']}: {passage.page_content.splitlines()[0]}")


if __name__ == "__main__":
    main()

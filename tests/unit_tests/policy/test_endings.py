"""Where text must end: stop strings and boundaries, compared with their plain definitions."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy.boundary import Boundary
from langchain_spec_thinking.policy.endings import WHITE_SPACE_MAX, Beginnings, Terminators, count_words, sentence_end

LETTERS = st.text(alphabet="ab\n", max_size=30)
STRINGS = st.lists(st.text(alphabet="ab\n", min_size=1, max_size=8), max_size=6).map(tuple)


def partial_length(strings: tuple[str, ...], text: str) -> int:
    """Return the length of the longest end of a text that is the beginning of a string."""
    longest = max(map(len, strings), default=1) - 1
    beginnings = {string[:size] for string in strings for size in range(1, len(string) + 1)}
    return next((size for size in range(min(longest, len(text)), 0, -1) if text[-size:] in beginnings), 0)


@given(STRINGS, LETTERS)
@settings(max_examples=1000)
def test_the_automaton_finds_what_a_set_of_all_beginnings_finds(strings: tuple[str, ...], text: str) -> None:
    assert Terminators(strings).partial_length(text) == partial_length(strings, text)


@given(STRINGS, LETTERS)
def test_the_string_that_ends_first_is_found(strings: tuple[str, ...], text: str) -> None:
    ends = [(start + len(s), start) for s in strings for start in range(len(text)) if text.startswith(s, start)]
    assert Terminators(strings).find(text) == (min(ends)[::-1] if ends else None)


@pytest.mark.parametrize("string", ["a" * 4000, "ab" * 2000, "".join(map(chr, range(32, 4032)))])
def test_memory_grows_with_the_length_of_a_stop_string_and_not_with_its_square(string: str) -> None:
    def memory(text: str) -> int:
        tracemalloc.start()
        beginnings = Beginnings((text,))
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert beginnings.longest_at_end(text) == len(text)
        return size

    assert memory(string) < 300 * len(string)  # the square would be 2,000 bytes for each character


class OldBoundary:
    """The search for a boundary that remembers all white space at the end of the text."""

    def __init__(self, newlines: int) -> None:
        self._pattern = re.compile(r"[ \t\r]*".join([r"\n"] * newlines))

    def search(self, tail: str, text: str) -> tuple[int, int] | None:
        matches = (match for match in self._pattern.finditer(tail + text) if match.end() > len(tail))
        return next(((max(0, m.start() - len(tail)), m.end() - len(tail)) for m in matches), None)

    def tail(self, text: str) -> str:
        match = re.search(r"\n\s*\Z", text)
        return match.group() if match else ""

    def ends_with_boundary(self, tail: str) -> bool:
        return self._pattern.search(tail) is not None


SPACE = st.text(alphabet="\n\n\n \t\r\f\u2003a", max_size=12)


@given(st.integers(1, 4), st.lists(SPACE, min_size=1, max_size=6))
@settings(max_examples=1000)
def test_a_short_tail_leads_to_the_same_boundaries_as_all_white_space(newlines: int, pieces: list[str]) -> None:
    new, old = Boundary("\n" * newlines), OldBoundary(newlines)
    tail = old_tail = ""
    for piece in pieces:
        assert new.search(tail, piece) == old.search(old_tail, piece)
        tail, old_tail = new.tail(tail + piece), old.tail(old_tail + piece)
        assert new.ends_with_boundary(tail) == old.ends_with_boundary(old_tail)
        assert len(tail) <= 3 * newlines + 1


@given(st.text(alphabet="ab#", max_size=20))
def test_the_tail_of_a_delimiter_without_line_breaks_is_as_long_as_the_delimiter(text: str) -> None:
    assert Boundary("##a").tail(text) == text[-3:]


@given(SPACE)
def test_a_boundary_is_extended_by_all_blank_lines_after_it(text: str) -> None:
    found = re.match(r"(?:[ \t\r]*\n)*", text)
    assert found
    assert Boundary("\n\n").extension(text) == found.end()


@given(st.text(alphabet="ab1.\n ", max_size=60), st.integers(1, 9))
def test_short_white_space_is_no_token(text: str, tokens: int) -> None:
    words = [*re.finditer(r"[A-Za-z0-9]{1,8}|\S", text)][:tokens]
    complete = len(words) == tokens and words[-1].end() < len(text)
    if " " * 32 not in re.sub(r"\s", " ", text):
        assert sentence_end(text, tokens) == (words[-1].end() if complete else None)


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        pytest.param("\u0930\u0941\u0915\u094b", 2, id="Hindi"),
        pytest.param("\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48", 2, id="Thai"),
        pytest.param("\u0438\u0306\u0435\u0308", 2, id="Russian, decomposed"),
        pytest.param("e\u0301", 1, id="a Latin letter, decomposed"),
    ],
)
def test_a_combining_mark_belongs_to_the_token_of_its_letter(word: str, letters: int) -> None:
    tokens = -(-letters // 2)
    assert count_words(f"{word} {word}") == 2 * tokens
    assert sentence_end(f"{word} {word}", tokens) == len(word)
    decided = {sentence_end(f"{word} {word}"[:size], tokens) for size in range(len(word) + 2)}
    assert decided == {None, len(word)}


def test_marks_without_end_are_tokens() -> None:
    assert sentence_end("e" + "\u0301" * 100, 5) is not None


@pytest.mark.parametrize("space", [" ", "\n", "\t\n ", "\u2003"])
def test_a_step_ends_in_long_white_space_wherever_it_is_cut(space: str) -> None:
    boundary, text = Boundary("\n\n"), f"A step.\n\n{space * 2 * WHITE_SPACE_MAX}x"
    end = boundary.step_end(text, last=False)
    assert end is not None
    assert end <= len("A step.\n\n") + WHITE_SPACE_MAX
    decided = [boundary.step_end(text[:size], last=False) for size in range(len(text))]
    assert set(decided) == {None, end}

"""Where words begin and end in the scripts of the world, and how the same word may be encoded.

All positions are those of the text as it is. Nothing is normalized before the search.
"""

from __future__ import annotations

import re
import unicodedata

_UNSEGMENTED = re.compile(
    "[\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Korean, which appends particles and endings to words
    "\u3000-\u312f\u31f0-\u31ff"  # Japanese syllables, Chinese phonetic letters, and the punctuation of both
    "\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"  # Chinese characters, full-width forms
)
"""A character of a script that does not separate words by spaces, or not all of them."""
MARKS = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c).startswith("M"))
"""The combining marks of the scripts in use."""
_SYLLABLE_ENDS = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff]")
"""A vowel or final consonant of Korean in decomposed form. It belongs to the syllable before it, as a mark does."""


def is_whole_word(text: str, start: int, end: int) -> bool:
    """Return whether no word continues across the edges of `text[start:end]`.

    In a script without spaces, an edge may be anywhere. A letter of such a script never forms a word with a letter of
    another script. A combining mark belongs to the letter before it.
    """
    return _may_begin(text, start) and _may_end(text, end)


def spelling(text: str) -> str:
    """Return a regular expression for a text, whether its accents are composed or decomposed (NFC, NFD)."""
    characters = map(_encodings, unicodedata.normalize("NFC", text))
    return "".join(forms[0] if len(forms) == 1 else f"(?:{'|'.join(forms)})" for forms in characters)


def first_letters(text: str) -> set[str]:
    """Return the characters with which a text may begin in its encodings, as regular expressions."""
    return {re.escape(form[0]) for form in _encodings(unicodedata.normalize("NFC", text)[0], escape=False)}


def _may_begin(text: str, start: int) -> bool:
    return start == 0 or bool(_UNSEGMENTED.match(text, start)) or not _is_of_spaced_word(text[start - 1])


def _may_end(text: str, end: int) -> bool:
    if end == len(text):
        return True
    following = text[end]
    if _is_mark(following) or _SYLLABLE_ENDS.match(following):
        return False
    return bool(_UNSEGMENTED.match(text, end - 1)) or not _is_of_spaced_word(following)


def _is_of_spaced_word(character: str) -> bool:
    part_of_word = character.isalnum() or character == "_" or _is_mark(character)
    return part_of_word and not _UNSEGMENTED.match(character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _encodings(character: str, *, escape: bool = True) -> list[str]:
    """Return all encodings of a character: composed, decomposed, and what is between them."""
    decomposed = unicodedata.normalize("NFD", character)
    between = (unicodedata.normalize("NFC", decomposed[:n]) + decomposed[n:] for n in range(1, len(decomposed) + 1))
    encodings = dict.fromkeys((character, *between))
    return [re.escape(encoding) if escape else encoding for encoding in encodings]

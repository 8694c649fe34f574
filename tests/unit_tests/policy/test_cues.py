"""Cues in the scripts of the world: with and without spaces, mixed, and with composed or decomposed accents."""
# ruff: noqa: RUF001 - cues and texts of other scripts

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_spec_thinking.policy import CueTrigger, Delegation, DelegationPolicy, Lexicon
from langchain_spec_thinking.policy.cue_lists import ENGLISH_AFFIRMATION, ENGLISH_REFLECTION, ENGLISH_VERIFICATION
from tests.unit_tests.policy.policy_runs import run_policy, transcript
from tests.unit_tests.policy.test_properties import cut, decisions

if TYPE_CHECKING:
    from collections.abc import Callable


def takeovers(step: str, lexicon: Lexicon | None = None, split: Callable[[str], list[str]] = list) -> list[str]:
    """Return the requests to the large model if a step follows a boundary."""
    policy = DelegationPolicy(CueTrigger(lexicon or Lexicon()))
    lines = transcript(run_policy(Delegation(policy, thinks=True, max_tokens=1000), [f"一。\n\n{step}"], split))
    return [line.removeprefix("target ") for line in lines if line.startswith("target")]


# Each cue is a reflection of the default lexicon or of a list of its own.
DEFAULT = {
    "wait, in Chinese": ("等等，这里好像有问题。", "reflection 20 (等等)"),
    "check, inside a sentence": ("我需要重新检查一下这个结果。", "reflection 20 (检查)"),
    "check, in traditional characters": ("我需要重新檢查一下這個結果。", "reflection 20 (檢查)"),
    "verify": ("现在验证一下。", "reflection 20 (验证)"),
    "wrong": ("不对，应该是七。", "reflection 20 (不对，)"),
    "yes": ("是的，答案是七。", "affirmation 20 (是的，)"),
    "right, at the beginning": ("没错，答案是七。", "affirmation 20 (没错，)"),
    "certain": ("我确信答案是七。", "affirmation 20 (我确信)"),
    "wait, after a sentence": ("苹果等等。等等，不是这样。", "reflection 20 (等等)"),
    "final answer": ("所以最终答案是七。", "affirmation 20 (最终答案)"),
    "an English cue between Chinese characters": ("让我wait一下", "reflection 20 (wait)"),
    "an English cue after Chinese punctuation": ("嗯，Wait，这里不一样。", "reflection 20 (wait)"),
    "a Chinese cue between English words": ("So 等等 is it", "reflection 20 (等等)"),
    "a cue in the thirties of characters": (
        "这个结果看起来有一点奇怪因为两边的单位不一样所以我们要把它再想想才行吧对不对呢。",
        "reflection 20 (再想想)",
    ),
}
OWN = {
    "Japanese": ("待って", "しかし待ってください、これは違う。", "待って"),
    "Japanese, composed in the list and not in the text": (
        "ただし",
        unicodedata.normalize("NFD", "でもただし、"),
        "ただし",
    ),
    "Korean, with an ending": ("확인", "이제 다시확인해 봅시다.", "확인"),
    "Korean, decomposed": ("확인", unicodedata.normalize("NFD", "다시 확인해 봅시다."), "확인"),
    "Thai": ("เดี๋ยว", "แต่เดี๋ยวก่อนนะ", "เดี๋ยว"),
    "Hindi": ("रुको", "अच्छा रुको, फिर से", "रुको"),
    "Arabic": ("انتظر", "لكن انتظر، هذا خطأ", "انتظر"),
    "Russian": ("подождите", "Но нет, здесь что-то не так, подождите немного.", "подождите"),
    "French, composed in the text": (unicodedata.normalize("NFD", "vérifions"), "Bon, vérifions cela.", "vérifions"),
    "French, decomposed in the text": ("vérifions", unicodedata.normalize("NFD", "Bon, VÉRIFIONS cela."), "vérifions"),
    "Vietnamese, between composed and decomposed": ("kiểm", "Ta kiê\u0309m tra.", "kiểm"),
    "two words": ("hold on", "嗯，Hold  on，这里", "hold on"),
}
NONE = {
    "a part of an English word": ("wait", "It is awaited."),
    "a part of a word with an accent": ("caf", "Un cafe\u0301."),
    "a letter that has another mark": ("cafe", "Un cafe\u0301."),
    "the end of a word that has a mark": ("wait", "e\u0301wait"),
    "a syllable with another mark": ("まて", unicodedata.normalize("NFD", "まで")),
    "a syllable with another final consonant": ("가", unicodedata.normalize("NFD", "각각")),
    "a Thai letter with another mark": ("รอ", "ร\u0e49อ"),
    "a part of a Hindi word": ("रुक", "रुको"),
    "a part of a Russian word": ("да", "дата"),
    "a digit after the cue": ("wait", "wait2"),
}


@pytest.mark.parametrize("split", [lambda text: [text], list], ids=["at once", "by character"])
@pytest.mark.parametrize(("step", "expected"), DEFAULT.values(), ids=DEFAULT)
def test_the_default_cues_are_found_in_their_script(
    step: str, expected: str, split: Callable[[str], list[str]]
) -> None:
    assert takeovers(step + " 然后", split=split)[:1] == [expected]


@pytest.mark.parametrize("split", [lambda text: [text], list], ids=["at once", "by character"])
@pytest.mark.parametrize(("cue", "step", "shown"), OWN.values(), ids=OWN)
def test_a_cue_of_ones_own_is_found(cue: str, step: str, shown: str, split: Callable[[str], list[str]]) -> None:
    assert takeovers(f"{step} .", Lexicon((), (cue,), ()), split) == [f"reflection 20 ({shown})"]


@pytest.mark.parametrize(("cue", "step"), NONE.values(), ids=NONE)
def test_a_part_of_a_word_is_no_cue(cue: str, step: str) -> None:
    assert takeovers(f"{step} .", Lexicon((), (cue,), ())) == []


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_end_of_a_cue_is_a_position_in_the_text_as_it_is(form: str) -> None:
    text = unicodedata.normalize(form, "Bon, vérifions cela")  # type: ignore[arg-type]
    cue = Lexicon((), ("vérifions",), ()).first(text, len(text), final=True)
    assert cue is not None
    assert text[: cue.end].endswith("rifions")


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("矩阵是不对称的。", id="asymmetric"),
        pytest.param("但是的确有两个。", id="but indeed"),
        pytest.param("所有的数都不对应。", id="no match"),
        pytest.param("我没有把握。", id="not sure"),
        pytest.param("我不确信。", id="not certain"),
        pytest.param("代码没错误。", id="no error in the code"),
        pytest.param("苹果、香蕉、梨等等，都是水果。", id="and so on"),
    ],
)
def test_a_chinese_word_that_contains_a_cue_by_chance_is_no_cue(step: str) -> None:
    assert takeovers(step) == []


@pytest.mark.parametrize("text", ["检查了一下，重新思考。", "等等，再想想，检查一下。"])
def test_chinese_sentences_are_classified_and_verified(text: str) -> None:
    assert Lexicon().classify(text) == "reflection"
    assert Lexicon().verifies(text)


def test_the_paper_has_english_cues_only() -> None:
    lexicon = DelegationPolicy.paper().trigger.lexicon
    english = (ENGLISH_AFFIRMATION, ENGLISH_REFLECTION, ENGLISH_VERIFICATION)
    assert (lexicon.affirmation, lexicon.reflection, lexicon.verification) == english
    assert lexicon == Lexicon(*english, substrings=True)


WORDS = [
    "检",
    "检查",
    "查",
    "再",
    "等",
    "等等",
    "wait",
    " wait",
    "a",
    "e\u0301",
    "é",
    "\u0301",
    "，",
    " ",
    "\n\n",
    "확",
    "인",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
CUES = st.lists(
    st.sampled_from(["检", "再检查", "检查", "等等", "wait", "é", "e", "wait a", "확인", "等wait"]), max_size=5
)


@given(st.data(), TEXTS, st.builds(lambda a, b, c: Lexicon(tuple(a), tuple(b), tuple(c)), CUES, CUES, CUES))
@settings(max_examples=300, deadline=None)
def test_any_split_finds_the_same_cue(data: st.DataObject, text: str, lexicon: Lexicon) -> None:
    """This holds also if one cue is a part of another one."""

    def commands(split: Callable[[str], list[str]]) -> list[str]:
        machine = Delegation(DelegationPolicy(CueTrigger(lexicon)), thinks=True, max_tokens=1000)
        return decisions(run_policy(machine, [f"a\n\n{text}", "b"], split))

    whole = commands(lambda text: [text])
    assert commands(cut(data)) == commands(list) == whole

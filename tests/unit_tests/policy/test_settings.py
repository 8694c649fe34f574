"""Invalid settings of a policy."""

from __future__ import annotations

import pytest

from langchain_spec_thinking.policy import DelegationPolicy, Lexicon


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("takeover_tokens", 0),
        ("takeover_tokens", True),
        ("takeover_tokens", "step"),
        ("takeover_interval", -1),
        ("verification_tokens", -1),
        ("recap_tokens", 1.5),
        ("opening_tokens", -1),
        ("boundary", ""),
        ("recap_sentence", None),
    ],
)
def test_an_error_names_the_invalid_setting(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        DelegationPolicy(**{field: value})  # type: ignore[arg-type]


def test_an_empty_cue_is_refused() -> None:
    with pytest.raises(ValueError, match="reflection: expected"):
        Lexicon(reflection=("wait", " "))

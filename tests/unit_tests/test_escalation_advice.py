"""What a pair and the doctor say about escalation before the first turn."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from pydantic import ValidationError

from langchain_spec_thinking import (
    ChatModelBackend,
    Confidence,
    DelegationPolicy,
)
from langchain_spec_thinking.backends.capabilities import Capabilities
from langchain_spec_thinking.backends.diagnosis import Diagnosis
from langchain_spec_thinking.cli.doctor import recommendations
from tests.unit_tests.gated_pairs import (
    gated,
    pair,
)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"answer_by": "target"}, "answer_by: expected 'speculative' with Agreement"),
    ({"policy": gated(Confidence())}, "Confidence needs the log-probabilities of the small model's answer"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=["answer by target", "no log-probabilities"])
def test_a_rule_that_cannot_work_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        pair("5", "5", **settings)


def test_a_target_that_cannot_continue_is_named_with_the_gated_policy(caplog: pytest.LogCaptureFixture) -> None:
    class NamedHereOnly(GenericFakeChatModel):
        """A model with a name of its own, because the advice is logged once for each name."""

    def large() -> ChatModelBackend:
        return ChatModelBackend(NamedHereOnly(messages=iter([])))

    caplog.clear()
    pair("5", large=large())
    assert caplog.text == ""  # the pair continues nothing
    pair("5", large=large(), policy=DelegationPolicy())
    assert "DelegationPolicy.gated() needs no continuation" in caplog.text


def test_the_doctor_names_the_gated_policy_if_the_target_cannot_continue() -> None:
    found = Diagnosis("large", capabilities=Capabilities(continuation="chat_instruct"))
    assert "target: large cannot continue a half-written thought" in "".join(recommendations({"target": found}))
    assert "gated" not in "".join(recommendations({"speculative": found}))
    able = Diagnosis("large", capabilities=Capabilities(continuation="raw"))
    assert "gated" not in "".join(recommendations({"target": able}))

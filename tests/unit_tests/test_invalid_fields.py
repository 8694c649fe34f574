"""An invalid field is described in the words of our own code, without what pydantic adds to them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, field_validator

from langchain_spec_thinking.cli.failures import message_of
from langchain_spec_thinking.invalid_fields import reason_of
from langchain_spec_thinking.serving.errors import refusal


class Cup(BaseModel):
    """A cup with a checked size."""

    size: int

    @field_validator("size")
    @classmethod
    def check_size(cls, size: int) -> int:
        if size > 9:
            msg = f"expected a size of at most 9, got {size}"
            raise ValueError(msg)
        return size


def error_of(size: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Cup(size=size)
    return caught.value


def test_an_error_of_our_own_code_is_not_changed() -> None:
    words = "expected a size of at most 9, got 10"
    (details,) = error_of(10).errors()
    assert reason_of(details) == words
    assert message_of(error_of(10)) == str(refusal(error_of(10))) == f"size: {words}"


def test_other_errors_have_pydantics_words() -> None:
    (details,) = error_of("large").errors()
    assert reason_of(details) == details["msg"]

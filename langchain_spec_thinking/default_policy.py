"""The policy of a pair whose user names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_spec_thinking.backends.thinking import reasons
from langchain_spec_thinking.errors import BackendError
from langchain_spec_thinking.policy import DelegationPolicy

if TYPE_CHECKING:
    from langchain_spec_thinking.backends.base import Backend

NOT_KNOWN = (
    "It is not known whether the small model reasons, because it did not answer. The policy is that of a model that "
    "does not reason."
)


def default_policy(small: Backend) -> tuple[DelegationPolicy, str | None]:
    """Return the policy that suits a small model, and `NOT_KNOWN` if it is not known whether the model reasons.

    If the backend does not know that, the model gets one short request. If the model does not answer, the first turn
    will show the error.

    Args:
        small: The backend of the small model.
    """
    try:
        thinks = reasons(small)
    except BackendError:
        return DelegationPolicy.non_reasoning(), NOT_KNOWN
    return DelegationPolicy() if thinks else DelegationPolicy.non_reasoning(), None

"""Turns recorded as the policy saw them, and replayed."""

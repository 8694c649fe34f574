"""A deep agent."""

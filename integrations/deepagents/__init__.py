"""Recipe for a deep agent."""

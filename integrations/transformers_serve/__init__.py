"""transformers serve."""

"""Recipe for vLLM."""

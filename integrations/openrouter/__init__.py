"""Recipe for OpenRouter."""

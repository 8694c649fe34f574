"""Recipe for Ollama."""

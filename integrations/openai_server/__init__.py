"""An OpenAI-compatible endpoint for a small and a large model."""

"""An OpenAI-compatible endpoint in front of a pair."""

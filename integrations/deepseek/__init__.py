"""Recipe for DeepSeek."""

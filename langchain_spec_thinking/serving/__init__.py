"""An OpenAI-compatible server for a small and a large model. Needs the extra `[server]`."""

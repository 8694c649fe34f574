"""What a model reads and writes: chat templates, half-written replies, tool calls and structured answers."""

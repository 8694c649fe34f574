"""Recipe for llama.cpp."""

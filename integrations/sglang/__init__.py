"""Recipe for SGLang."""

"""Recipe for `transformers serve`."""

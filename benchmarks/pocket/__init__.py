"""The pocket pair: two tiny reasoning models, and everything that makes them."""

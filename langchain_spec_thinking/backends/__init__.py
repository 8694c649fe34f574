"""Backends: models that can continue a half-written turn."""

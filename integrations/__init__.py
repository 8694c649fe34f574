"""Recipes: a pair on one engine or service each."""

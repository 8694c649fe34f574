"""Recipes. Each recipe is a pair on one engine or service, or in one kind of application."""

"""Saving of a finished turn to a file, and its display as an HTML page."""

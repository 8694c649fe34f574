"""A finished turn in a file and on a page."""

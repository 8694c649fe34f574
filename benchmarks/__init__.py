"""Benchmarks of the package; not shipped in the wheel."""

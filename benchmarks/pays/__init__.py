"""Measure at which level the help of a large model pays: `make bench-pays`."""

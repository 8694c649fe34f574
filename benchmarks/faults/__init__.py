"""Faults between the client and a real server: `make faults`."""

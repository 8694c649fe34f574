"""`make faults`: tests a client against a real server with injected faults."""

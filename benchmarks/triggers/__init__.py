"""Compare all triggers on the pocket pair at equal shares of the target, with random controls."""

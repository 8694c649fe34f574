"""Recording of the inputs and decisions of the policy in each turn, and replay of such records."""

"""Recipe for a small model on this machine and a large model at a hosted service."""

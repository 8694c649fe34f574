"""Recipe for the pair on Ray Serve."""

"""The pair on Ray Serve."""

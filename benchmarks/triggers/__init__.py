"""Every trigger of the pocket pair at matched shares of the target, with controls."""

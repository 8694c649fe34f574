"""Recipe for a chain that answers questions from documents."""

"""Students that learn from each other."""

"""Models on held-out text: what `compare` and tasks of masked tokens have in common."""

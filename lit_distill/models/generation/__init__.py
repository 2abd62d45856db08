"""Generation: text that a model writes, and its way into batches."""

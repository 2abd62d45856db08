"""From token stores to batches: sampling, plans, collation, loaders."""

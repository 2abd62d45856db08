"""`cache-teacher`: what a teacher says about a corpus, written down."""

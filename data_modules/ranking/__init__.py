"""Queries, passages and lists of passages: where they come from, how they are kept and fed."""

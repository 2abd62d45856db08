"""Losses of one row of logits: what a configuration names."""

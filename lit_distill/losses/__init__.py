"""Losses: pure functions of tensors, no Lightning, no transformers."""

"""Texts as vectors: what of a model's states stands for a text."""

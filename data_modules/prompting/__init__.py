"""Prompts and responses: their sources, their templates, their stores and batches."""

"""Losses of vectors of whole texts."""

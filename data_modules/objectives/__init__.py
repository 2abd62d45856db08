"""Objectives: which positions of a text are targets, and what a model reads there."""

"""Distillation of language models with PyTorch Lightning: right, fast, and per language."""

__version__ = "0.1.0"

"""Cells of an evaluation: what one model says about one task, and how that is found out."""

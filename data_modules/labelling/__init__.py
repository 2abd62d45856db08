"""Texts and pairs of texts with a label each: where they come from, and batches of them."""

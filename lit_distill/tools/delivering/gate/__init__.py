"""The gate: files beside their model on held text, and what of their differences is refused."""

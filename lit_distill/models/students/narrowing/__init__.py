"""A teacher's weights in fewer dimensions: which are kept, and what stays the same."""

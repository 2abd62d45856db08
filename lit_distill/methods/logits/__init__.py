"""A teacher's logits over text of the data."""

"""Whether models, tokenizers and data fit each other."""

"""Loading: model folders, hub names, tokenizers."""

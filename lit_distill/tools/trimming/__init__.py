"""`trim-vocabulary`: a model and its tokenizer without the pieces that some languages never use."""

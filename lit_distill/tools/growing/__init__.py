"""`grow-vocabulary`: a model and its tokenizer with pieces for a language that was cut to bits."""

"""`corpus-report` and `train-tokenizer`: what corpora hold."""

"""Training without a teacher: masked and causal language models."""

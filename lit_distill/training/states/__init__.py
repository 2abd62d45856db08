"""What mapped hidden states of a student learn of its teacher, for any method to read."""

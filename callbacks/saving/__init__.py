"""What is kept of a run: checkpoints, exported students, the state of random numbers."""

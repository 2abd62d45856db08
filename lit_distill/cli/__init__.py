"""The command line of training: configurations in, runs out."""

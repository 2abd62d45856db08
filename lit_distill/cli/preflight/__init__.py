"""What can be seen of a run before its first step, at no cost: `fit` says it too."""

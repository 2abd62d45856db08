"""One page about runs, recipes and evaluations, from the files that they left."""

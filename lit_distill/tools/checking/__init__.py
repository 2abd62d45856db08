"""`check`: what will go wrong with a run, what it takes and how long, before hours are spent."""

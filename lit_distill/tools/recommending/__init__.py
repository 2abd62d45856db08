"""`recommend`: a fitted guess at the best pipeline for a data set, and when there is none."""

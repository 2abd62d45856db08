"""`pseudo-label`: answers of a teacher as a file to train on."""

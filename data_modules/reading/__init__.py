"""Reading corpora: kinds of files, hub sets, rows, tags."""

"""`compare` and `compare-texts`: several models side by side."""

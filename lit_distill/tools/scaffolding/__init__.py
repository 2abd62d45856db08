"""Files that a new method begins with."""

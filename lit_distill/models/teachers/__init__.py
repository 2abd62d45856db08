"""Teachers: live ones, several as one, and caches of what one said."""

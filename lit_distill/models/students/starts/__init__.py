"""Starts of students: saved, layers of the teacher, narrower, fresh, of another vocabulary."""

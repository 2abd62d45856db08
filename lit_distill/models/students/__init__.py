"""Students: how they start, and which of their weights train."""

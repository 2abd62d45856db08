"""Methods that train a head for a task: labels, choices, spans and numbers."""

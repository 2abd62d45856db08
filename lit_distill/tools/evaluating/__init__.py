"""What models still can do: tasks, languages and seeds, beside their teacher and their control."""

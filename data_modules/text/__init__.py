"""Text before it is tokens: markers, frames, templates, duplicates, statistics of its languages."""

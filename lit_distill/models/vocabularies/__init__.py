"""Vocabularies that are cut to what some languages need: which ids stay, and who is told."""

"""Vocabularies that get pieces for a language which they cut to bits."""

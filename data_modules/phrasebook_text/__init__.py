"""The phrasebook: a grammar of everyday sentences in three languages, and its words."""

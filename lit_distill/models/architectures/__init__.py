"""Architectures: a table with one row for each model class, which says where its parts are."""

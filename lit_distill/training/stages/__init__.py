"""Stages of one run: what trains, and what is learnt, from which update until which."""

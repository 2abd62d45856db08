"""Mutual information of states: its lower bounds, and the critics that they are computed from."""

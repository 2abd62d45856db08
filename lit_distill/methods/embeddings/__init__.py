"""Methods whose students make one vector of a text."""

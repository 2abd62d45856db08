"""How configurations and options are read, and what is wrong with them."""

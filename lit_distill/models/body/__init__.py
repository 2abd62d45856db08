"""The bodies of models: one forward, what is kept of it, how it is compiled and sharded."""

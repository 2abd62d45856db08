"""What comes with the package: its configs, by name, and completion for shells."""

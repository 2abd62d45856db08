"""Commands that are no Trainer loop: one typed function each."""

"""What is delivered, and what a user chose of it."""

"""What lies inside a teacher: attention relations and hidden states."""

"""Text that a model writes while another learns."""

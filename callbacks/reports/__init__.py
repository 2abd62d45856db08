"""What is shown of a validation: tables, figures and samples."""

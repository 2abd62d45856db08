"""What an evaluation leaves behind: costs, tables, figures, results.json."""

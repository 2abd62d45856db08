"""How candidates are timed: in rounds, beside a floor, in processes of their own."""

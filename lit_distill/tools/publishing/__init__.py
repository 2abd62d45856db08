"""What is given to others: cards that say what was measured, and folders sent to a hub."""

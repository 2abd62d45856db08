"""What predictions are worth: metrics, retention of a teacher's scores, loyalty to what it says."""

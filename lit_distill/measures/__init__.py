"""What validation measures of students."""

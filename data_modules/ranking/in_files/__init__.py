"""Collections that lie in files: folders as BEIR has them, and rows with their texts."""

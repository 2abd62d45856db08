"""What is shown of text that models write: samples, scores, comparisons."""

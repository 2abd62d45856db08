"""What watches a run go: progress, throughput, numbers that are not finite."""

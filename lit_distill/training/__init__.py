"""What every method shares: `Distillation` and the parts that it is made of."""

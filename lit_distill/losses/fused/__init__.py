"""The fused engine: logits tile by tile, losses and gradients in one pass."""

"""Give back without training what a removal cost: weights and biases only, never shapes or nodes."""

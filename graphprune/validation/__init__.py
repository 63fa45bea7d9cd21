"""The proof: the masked original, and the comparison with the written file."""

"""Two ways to shrink a network by the same amount, a block or units, weighed against each other."""

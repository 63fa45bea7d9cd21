"""Two ways to shrink by the same amount, a block or units, weighed against each other."""

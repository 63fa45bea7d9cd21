"""What is known of a model: data flow, sizes, costs, residual blocks, dependency groups."""

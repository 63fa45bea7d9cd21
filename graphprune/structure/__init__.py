"""What the graph is made of: data flow, residual blocks, stages."""

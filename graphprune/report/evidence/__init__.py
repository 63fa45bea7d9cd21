"""What the HTML report shows beyond the result, gathered from the two networks."""

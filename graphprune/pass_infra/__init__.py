"""What a pass is, and what all that remove blocks, and all that cut units, share."""

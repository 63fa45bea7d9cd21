"""A loaded model with its data, and everything about a run that is not the decision itself."""

"""The criteria of ``importance`` applied to a model: one importance per unit of each group, low goes first."""

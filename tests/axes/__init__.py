"""Tests of graphprune.axes: the algebra, the rules, and what has none."""

"""Tests of graphprune.importance."""

"""Tests of graphprune.structure."""

"""Tests of graphprune.runtime."""

"""Importance criteria. They see feature matrices, never graphs."""

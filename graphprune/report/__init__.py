"""One result object, and the ways to show it."""

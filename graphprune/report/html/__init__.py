"""The HTML report: one file that needs nothing from anywhere, made from a result and what was gathered beside it."""

"""Speed over commits, in asv's form: ``asv run``, ``asv publish``; one commit by ``python -m benchmarks.shipped``."""

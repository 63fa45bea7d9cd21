"""Measured latency. Ratios come from interleaved runs in one process."""

"""Decoders with a cache of keys and values: how their inputs and outputs belong together, and what a step is fed."""

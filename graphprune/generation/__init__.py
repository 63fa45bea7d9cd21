"""Decoders timed as they are used: greedy generation over the cache, the first token and each further one."""

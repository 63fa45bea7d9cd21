"""A language model's folder: which file of it is the network, and the same folder around a smaller one."""

"""The model in memory: how its nodes are read, and what they compute from sizes."""

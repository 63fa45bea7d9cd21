"""The model in memory: loading, one normal form, its nodes read, export, and the files it comes from and goes to."""

"""The model in memory: loading, one normal form, export, the files it comes from and goes to."""

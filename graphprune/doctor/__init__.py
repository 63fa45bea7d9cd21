"""What runs here: every runtime tried, the libraries it wants looked for,
and for each fault the line that repairs it.
"""

"""Bad inputs, what the command must say about each, and the judge that checks it."""

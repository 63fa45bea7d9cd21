"""``python -m graphprune``."""

from graphprune.cli.main import entry

if __name__ == "__main__":
    entry()

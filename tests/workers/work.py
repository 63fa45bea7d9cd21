"""Work for workers; it imports little, for each of them has to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from graphprune.errors import OptionError


def double(shared: int, item: int) -> int:
    return shared * item


def die_once(flag: Path, item: int) -> int:
    """The first to come here is killed by the system, as when memory runs out."""
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        return item
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def die_elsewhere(home: int, item: int) -> int:
    """Dies wherever it is but at home."""
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def fail(shared: str, item: int) -> int:
    raise OptionError(f"{shared} {item}", "mend it")

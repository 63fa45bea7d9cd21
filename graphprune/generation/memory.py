"""The most memory that a model takes to generate, asked of a process that does nothing else.

python -m graphprune.generation.memory MODEL RUNTIME PROVIDER THREADS PROMPT NEW BATCH
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from graphprune.errors import GraphpruneError
from graphprune.generation.measure import prompts
from graphprune.generation.opening import opener
from graphprune.generation.points import GenerationPoint
from graphprune.generation.source import decoder_source
from graphprune.runtime.sessions import RuntimeOptions

_STATUS = Path("/proc/self/status")
_PEAK = "VmHWM:"  # of this process's own memory: what getrusage tells is that of the parent, too


def peak_bytes(model: Path, runtime: str, options: RuntimeOptions, point: GenerationPoint, batch: int) -> int | None:
    """Peak of the resident set of a process that opens ``model`` (a file or a folder) and generates once.

    Python, the runtime's own code and weights that the runtime maps from their file are in it. None where the system
    does not tell, or the process ends early, as for want of memory.
    """
    words = (model, runtime, options.provider, options.thread_count, point.prompt, point.new, batch)
    command = [sys.executable, "-m", "graphprune.generation.memory", *map(str, words)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = said.stdout.strip()
    return int(answer) if said.returncode == 0 and answer.isdecimal() else None


def own_peak_bytes() -> int | None:
    """Peak of the resident set of this process."""
    if not _STATUS.is_file():
        return None
    line = next((line for line in _STATUS.read_text().splitlines() if line.startswith(_PEAK)), "")
    return int(line.split()[1]) * 1024 if line else None


def main(words: list[str]) -> int:
    """Generate, print the bytes; the exit code."""
    model, runtime, provider, *numbers = words
    threads, prompt, new, batch = map(int, numbers)
    point = GenerationPoint(prompt, new)
    try:
        decoder = opener(runtime)(decoder_source(Path(model)), RuntimeOptions(provider, threads))
        decoder.generate(prompts(point, batch, decoder.vocabulary, 0), new)
    except GraphpruneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(own_peak_bytes() or "")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

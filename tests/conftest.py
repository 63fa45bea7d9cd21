"""What many tests need: the shipped model, and the shared real networks where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("GRAPHPRUNE_DATA", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The network that comes with the project."""
    return ROOT / "models" / "fashion_resnet32.onnx"


@pytest.fixture(scope="session")
def calibration() -> Path:
    return ROOT / "models" / "fashion_calibration.npz"


@pytest.fixture(scope="session")
def evaluation() -> Path:
    return ROOT / "models" / "fashion_eval.npz"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real networks; absent outside the developers' machines."""
    folder = SHARED / "models"
    if not folder.is_dir():
        pytest.skip(f"no shared models in {SHARED} (set GRAPHPRUNE_DATA)")
    return folder

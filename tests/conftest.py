"""What many tests need: the shipped model, and the shared real networks where they are."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("GRAPHPRUNE_DATA", ROOT.parent / "shared"))

_QUICK_EXPORTS = ("resnet_v1", "resnet_se", "llama")  # of the zoo, by the older exporter

hypothesis.settings.register_profile("patient", deadline=None)  # a busy neighbour is no fault of the code
hypothesis.settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Workers side by side (``-n``) keep to cores of their own:
    thread pools that spin on shared ones take many times as long.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores, count = sorted(os.sched_getaffinity(0)), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) % count :: count] or cores)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Where GRAPHPRUNE_SLOW_SECONDS is set, as in CI: a test that takes more of the processor and is not marked
    ``slow`` fails.
    """
    began = _processor_seconds()
    yield
    limit, took = os.environ.get("GRAPHPRUNE_SLOW_SECONDS"), _processor_seconds() - began
    is_shared = "zoo" in getattr(item, "fixturenames", ())  # the first to ask for an export pays for all
    if limit and took > float(limit) and not is_shared and item.get_closest_marker("slow") is None:
        pytest.fail(f"took {took:.0f} seconds of the processor: mark it slow, or make it faster", pytrace=False)


def _processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that asks the zoo for one network stays with one worker, or it would be exported twice;
    an export takes seconds, but for some small networks and the older exporter.
    """
    for item in items:
        if "zoo" in getattr(item, "fixturenames", ()):  # asked for by another fixture, too
            asked = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
            item.add_marker(pytest.mark.xdist_group(f"zoo-{asked.get('name', '')}"))
            if asked.get("exporter", "dynamo") == "dynamo" or asked.get("name") not in _QUICK_EXPORTS:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shipped() -> Path:
    """The network that comes with the project."""
    return ROOT / "models" / "fashion_resnet32.onnx"


@pytest.fixture(scope="session")
def shallow(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network with three of the five blocks of each stage, for what need not be deep."""
    import numpy as np

    from graphprune.analysis.blocks import find_joins
    from graphprune.analysis.sizes import concrete_sizes
    from graphprune.ir.export import write
    from graphprune.ir.loading import load
    from graphprune.rewrite import remove_blocks
    from graphprune.runtime.sessions import RuntimeOptions

    model, path = load(shipped), tmp_path_factory.mktemp("shallow") / "fashion_resnet20.onnx"
    sizes = concrete_sizes(model, {"input": np.zeros((1, 1, 28, 28), np.float32)}, RuntimeOptions(threads=1))
    blocks = [join.block for join in find_joins(model, sizes) if join.block]
    write(remove_blocks(model, [block for block in blocks if re.search(r"stages\.\d\.[34]", block.name)]), path)
    return path


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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the shipped models and a model.onnx, as the examples of README and pages assume."""
    import numpy as np

    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "model.onnx").symlink_to(ROOT / "models" / "fashion_resnet32.onnx")
    for name, source, count in (("calib", "fashion_calibration.npz", 64), ("test", "fashion_eval.npz", 300)):
        with np.load(ROOT / "models" / source) as arrays:  # a part: these examples need to run, not to be good
            np.savez(tmp_path / f"{name}.npz", **{key: arrays[key][:count] for key in arrays.files})
    return tmp_path

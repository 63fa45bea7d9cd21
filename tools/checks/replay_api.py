"""The Python API as the replay calls it: ``python replay_api.py FUNCTION`` prints what came of it.

Only public names are used: those of ``graphprune`` and of ``graphprune.torch_bridge``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import graphprune

# Where an option is kept whose name alone does not say it, in the forms that RunOptions has had: dots lead into groups.
_PLACES = {
    "bench_batch": ("bench_batch", "timing.batch"),
    "bench_seconds": ("bench_seconds", "timing.seconds"),
}


def run_options(**flat: Any) -> graphprune.RunOptions:
    """Run options from flat names, wherever this checkout's RunOptions keeps each of them: itself,
    or one of its groups.
    """
    whole: Any = graphprune.RunOptions()
    for name, value in flat.items():
        groups = [
            each.name for each in dataclasses.fields(whole) if dataclasses.is_dataclass(getattr(whole, each.name))
        ]
        places = _PLACES.get(name, (name, *(f"{group}.{name}" for group in groups)))
        place = next((place for place in places if _holds(whole, place)), None)
        assert place is not None, f"RunOptions has no place for {name}; tried {', '.join(places)}"
        whole = _replaced(whole, place.split("."), value)
    assert isinstance(whole, graphprune.RunOptions)
    return whole


def _holds(owner: Any, place: str) -> bool:
    for name in place.split("."):
        if not dataclasses.is_dataclass(owner) or name not in {each.name for each in dataclasses.fields(owner)}:
            return False
        owner = getattr(owner, name)
    return True


def _replaced(owner: Any, path: list[str], value: Any) -> Any:
    inner = value if len(path) == 1 else _replaced(getattr(owner, path[0]), path[1:], value)
    return dataclasses.replace(owner, **{path[0]: inner})


def show(title: str, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content, indent=1, default=str)
    print(f"# {title}\n{text}")


def prune_in_memory() -> None:
    """A model and arrays in memory, a pass as an object; nothing is written."""
    import numpy as np
    import onnx

    with np.load("images.npz") as arrays:
        x = arrays["x"]
    result = graphprune.prune(
        onnx.load("cnn.onnx"),
        passes=[graphprune.LayerCKA(floor=1)],
        data=x,
        target=graphprune.Target("removed", 1),
        options=run_options(
            measure_latency=False, samples=24, batch=8, seed=2, runtime=graphprune.RuntimeOptions(threads=1)
        ),
    )
    show("result", result.to_dict())
    show("model kept", result.model is not None)
    show("output", str(result.output))


def plan_and_apply() -> None:
    """A dry run, its plan by way of a file, and the model from it."""
    options = run_options(align=2, repair=(), bench_seconds=0.1, runtime=graphprune.RuntimeOptions(threads=1))
    result = graphprune.prune("cnn.onnx", ["filter-magnitude"], None, "params=0.7", dry_run=True, options=options)
    result.plan.save(Path("plan.json"))
    plan = graphprune.Plan.load(Path("plan.json"))
    show("same plan", plan == result.plan)
    show("plan", plan.to_json())
    show("applied", graphprune.apply("cnn.onnx", plan, "images.npz", "out.onnx", options=options).to_dict())


def options() -> None:
    """Options of every group; the report tells them as a Python call."""
    graphprune.prune(
        "cnn.onnx",
        ["layer-cka{floor=1}"],
        "images.npz",
        "removed=1",
        "out.onnx",
        options=run_options(
            seed=1,
            batch=16,
            bench_batch=2,
            bench_seconds=0.1,
            samples=32,
            evaluation="images.npz",
            allow_slower=True,
            cache_dir=Path("cache"),
            repair=("stats",),
            jobs=1,
            report=Path("report.html"),
            runtime=graphprune.RuntimeOptions(threads=1),
        ),
    )


def errors() -> None:
    """The classes of the errors, what they say, and their exit codes."""
    calls: dict[str, Any] = {
        "target": lambda: graphprune.Target.parse("speed=2"),
        "load": lambda: graphprune.load("text.onnx"),
        "no pass": lambda: graphprune.prune("cnn.onnx", []),
        "unknown pass": lambda: graphprune.prune("cnn.onnx", ["magic"]),
        "out of reach": lambda: graphprune.prune("cnn.onnx", ["layer-cka"], "images.npz", "removed=50"),
        "nothing": lambda: graphprune.prune("chain.onnx", ["filter-magnitude"]),
        "plan": lambda: graphprune.apply("cnn.onnx", "future.json"),
        "data": lambda: graphprune.prune("cnn.onnx", ["layer-cka"], "doubles.npz"),
        "output": lambda: graphprune.prune("cnn.onnx", ["layer-cka"], "images.npz", output="cnn.onnx"),
    }
    for name, call in calls.items():
        try:
            show(name, f"returned {call()}")
        except graphprune.GraphpruneError as error:
            lines = [type(error).__name__, error.message, error.fix, error.exit_code]
            show(name, "\n".join(map(str, lines)))


def names() -> None:
    """What the package offers."""
    show("names", sorted(graphprune.__all__))
    show("version", graphprune.__version__)
    show(
        "target",
        [str(graphprune.Target.parse(text)) for text in ("flops=0.50", "latency=5ms", "removed=4", "ratio=.3")],
    )
    show("model", type(graphprune.load("cnn.onnx")).__name__)


def bridge() -> None:
    """A file as a module and back, a module as a file, and a module cut as a plan says."""
    import numpy as np
    import torch
    from torch import nn

    from graphprune.torch_bridge import apply_plan, from_torch, to_torch, write_back

    torch.manual_seed(0)
    model = graphprune.load("cnn.onnx")
    module = to_torch("cnn.onnx").eval()
    with np.load("images.npz") as arrays:
        x = torch.from_numpy(arrays["x"][:4])
    show("parameters", {name: list(value.shape) for name, value in module.named_parameters()})
    show("code", module.code)
    show("outputs", _digest(module(x).detach().numpy()))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    halved = write_back(model, module)
    show(
        "written back",
        [_digest(each.eval()(x).detach().numpy()) for each in (module, to_torch(halved), to_torch(model))],
    )

    own = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 12, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 36, 20),
        nn.ReLU(),
        nn.Linear(20, 4),
    ).eval()
    exported = from_torch(own, x)
    show("exported", to_torch(exported).code)
    quiet = run_options(measure_latency=False, runtime=graphprune.RuntimeOptions(threads=1))
    result = graphprune.prune(own, ["filter-magnitude"], arrays_of(x), "params=0.6", example=x, options=quiet)
    show("pruned", result.to_dict())
    show("module", _digest(result.module().eval()(x).detach().numpy()))
    show("cut", dataclasses.asdict(apply_plan(own, result.plan, x)))
    show("own module", str(own))
    show("own outputs", _digest(own(x).detach().numpy()))


def arrays_of(x: Any) -> Any:
    """Eight samples out of four, so that halves can be compared."""
    import numpy as np

    return np.concatenate([x.numpy(), x.numpy()[:, :, ::-1].copy()])


def _digest(array: Any) -> str:
    return f"{array.dtype} {list(array.shape)} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"


if __name__ == "__main__":
    globals()[sys.argv[1]]()

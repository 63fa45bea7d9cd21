"""One question answered in a process of its own, as a line of JSON: what starts here may crash or hang.

python -m graphprune.doctor.probe onnxruntime            version, providers
python -m graphprune.doctor.probe start cuda:0           runs a model of one node
python -m graphprune.doctor.probe torch
python -m graphprune.doctor.probe tensorrt
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from graphprune.base import extras
from graphprune.errors import GraphpruneError


def onnxruntime() -> dict[str, Any]:
    """Version and providers of the wheel that won."""
    ort = extras.onnxruntime()
    return {"version": ort.__version__, "providers": ort.get_available_providers(), "file": ort.__file__}


def start(provider: str) -> dict[str, Any]:
    """Whether a session really starts: a convolution of four numbers, which any provider takes."""
    import numpy as np
    from onnx import TensorProto, helper

    from graphprune.measure.ort import OrtRuntime
    from graphprune.runtime.sessions import RuntimeOptions

    shape = [1, 1, 2, 2]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], [2.0])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    runner = OrtRuntime(RuntimeOptions(provider)).open(model, {"x": np.ones(shape, np.float32)})
    (output,) = runner.run()
    return {"is_right": bool(np.allclose(output, 2.0)), **runner.facts}


def torch() -> dict[str, Any]:
    """Version, CUDA and the first device."""
    found = extras.torch()
    available = bool(found.cuda.is_available())
    name = found.cuda.get_device_name(0) if available else ""
    return {"version": found.__version__, "cuda": found.version.cuda or "", "available": available, "device": name}


def tensorrt() -> dict[str, Any]:
    """Version of the bindings, if they find their library."""
    return {"version": extras.tensorrt().__version__}


_QUESTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "onnxruntime": onnxruntime,
    "start": start,
    "torch": torch,
    "tensorrt": tensorrt,
}


def main(question: str, *arguments: str) -> None:
    """Print the answer, or the error as a sentence."""
    try:
        answer = _QUESTIONS[question](*arguments)
    except GraphpruneError as error:
        answer = {"error": error.message, "fix": error.fix}
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises is the answer
        answer = {"error": f"{type(error).__name__}: {error}"}
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])

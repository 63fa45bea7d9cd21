"""Training the module and putting the result back into the file."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="the bridge leads to torch")

import torch

from graphprune.errors import InputError
from graphprune.ir.export import to_proto
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from graphprune.torch_bridge import to_torch, write_back
from tests.torch_bridge.checks import bytes_of, outputs_of_file, outputs_of_module, worst
from tests.torch_bridge.graphs import build, draw, node

IMAGE = draw(4, 3, 6, 6)


def _normed(*, is_shared: bool = False) -> Model:
    """Two convolutions with norms that stayed; exporters let norms share equal statistics."""
    nodes = [
        node("Conv", "x c1.weight", "a"),
        node("BatchNormalization", "a n1.weight n1.bias mean var", "b", momentum=0.8),
        node("Relu", "b", "c"),
        node("Conv", "c c2.weight", "d"),
        node("BatchNormalization", f"d n2.weight n2.bias {'mean var' if is_shared else 'mean2 var2'}", "y"),
    ]
    weights = {"c1.weight": draw(4, 3, 3, 3), "c2.weight": draw(4, 4, 3, 3)}
    for index in (1, 2):
        weights |= {f"n{index}.weight": draw(4, seed=index), f"n{index}.bias": draw(4, seed=index + 2)}
    weights |= {"mean": np.zeros(4, np.float32), "var": np.ones(4, np.float32)}
    if not is_shared:
        weights |= {"mean2": draw(4, seed=8), "var2": np.ones(4, np.float32) * 2}
    return build(nodes, {"x": IMAGE}, weights, free={"x": [0]})


def _train(module: torch.nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    module.train()
    for step in range(steps):
        optimizer.zero_grad()
        found = module(torch.from_numpy(draw(4, 3, 6, 6, seed=step + 1)))
        (found - torch.from_numpy(draw(*found.shape))).square().mean().backward()
        optimizer.step()
    module.eval()


def test_without_training_the_file_comes_back_to_the_bit(shipped: Path) -> None:
    model = load(shipped)
    assert bytes_of(write_back(model, to_torch(model))) == bytes_of(model)


def test_after_training_the_file_computes_what_the_module_does() -> None:
    model = _normed()
    module = to_torch(model)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    _train(module)
    after = module.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before), "something did not learn"
    written = write_back(model, module)
    assert worst(outputs_of_file(written, {"x": IMAGE}), outputs_of_module(module, model, {"x": IMAGE})) <= 1e-4
    assert worst(outputs_of_file(model, {"x": IMAGE}), outputs_of_module(module, model, {"x": IMAGE})) > 1e-2


def test_nothing_but_weights_changes() -> None:
    model = _normed()
    module = to_torch(model)
    _train(module)
    one, other = to_proto(model), to_proto(write_back(model, module))
    assert list(one.graph.node) == list(other.graph.node)
    assert list(one.graph.input) == list(other.graph.input)
    assert list(one.graph.output) == list(other.graph.output)
    names = [[(t.name, t.data_type, list(t.dims)) for t in proto.graph.initializer] for proto in (one, other)]
    assert names[0] == names[1]
    onnx.checker.check_model(other)


def test_running_statistics_follow_onnx_momentum_in_train_mode() -> None:
    module = to_torch(_normed())
    module.train()
    x = torch.from_numpy(IMAGE)
    module(x)
    seen = torch.nn.functional.conv2d(x, module.get_parameter("c1.weight")).mean(dim=(0, 2, 3))
    assert torch.allclose(module.get_buffer("n1.running_mean"), 0.2 * seen, atol=1e-6)


def test_statistics_that_norms_shared_part_in_the_file() -> None:
    model = _normed(is_shared=True)
    module = to_torch(model)
    assert bytes_of(write_back(model, module)) == bytes_of(model)
    _train(module)
    assert not torch.equal(module.get_buffer("n1.running_mean"), module.get_buffer("n2.running_mean"))
    written = write_back(model, module)
    onnx.checker.check_model(to_proto(written))
    assert worst(outputs_of_file(written, {"x": IMAGE}), outputs_of_module(module, model, {"x": IMAGE})) <= 1e-4


def test_parted_statistics_take_names_that_are_free() -> None:
    proto = to_proto(_normed(is_shared=True))
    for node_proto in proto.graph.node:
        for operands in (node_proto.input, node_proto.output):
            operands[:] = [{"c": "mean/1", "b": "var/1"}.get(name, name) for name in operands]
    model = load(proto)
    module = to_torch(model)
    _train(module)
    written = write_back(model, module)
    onnx.checker.check_model(to_proto(written))
    assert worst(outputs_of_file(written, {"x": IMAGE}), outputs_of_module(module, model, {"x": IMAGE})) <= 1e-4


def test_copies_pickles_and_compiled_modules_can_be_written_back() -> None:
    model = _normed()
    module = to_torch(model)
    _train(module)
    stored = io.BytesIO()
    torch.save(module, stored)
    stored.seek(0)
    expected = bytes_of(write_back(model, module))
    assert bytes_of(write_back(model, copy.deepcopy(module))) == expected
    assert bytes_of(write_back(model, torch.load(stored, weights_only=False))) == expected
    compiled: Any = torch.compile(module, backend="eager")
    assert bytes_of(write_back(model, compiled)) == expected


def test_half_precision_inside_comes_out_as_the_file_says() -> None:
    """Casts at the edges and around what stays in single precision."""
    nodes = [
        node("Cast", "x", "xh", to=onnx.TensorProto.FLOAT16),
        node("Conv", "xh c1.weight c1.bias", "a"),
        node("Cast", "a", "s", to=onnx.TensorProto.FLOAT),
        node("Softmax", "s", "t", axis=1),
        node("Cast", "t", "h", to=onnx.TensorProto.FLOAT16),
        node("Conv", "h c2.weight", "b"),
        node("Cast", "b", "y", to=onnx.TensorProto.FLOAT),
    ]
    weights = {"c1.weight": draw(4, 3, 3, 3), "c1.bias": draw(4), "c2.weight": draw(5, 4, 1, 1)}
    model = build(nodes, {"x": IMAGE}, {name: value.astype(np.float16) for name, value in weights.items()})
    module = to_torch(model)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float16}
    (found,) = outputs_of_module(module, model, {"x": IMAGE})
    assert found.dtype == torch.float32
    assert worst(outputs_of_file(model, {"x": IMAGE}), [found]) < 1e-2
    assert bytes_of(write_back(model, module)) == bytes_of(model)


def test_half_precision_files_stay_in_half_precision() -> None:
    weights = {"fc.weight": draw(4, 6).astype(np.float16)}
    feed = {"x": draw(2, 6).astype(np.float16)}
    model = build([node("Gemm", "x fc.weight", transB=1)], feed, weights)
    module = to_torch(model)
    assert bytes_of(write_back(model, module.float())) == bytes_of(model)


def test_external_weights_are_read_and_replaced_in_memory(tmp_path: Path) -> None:
    proto = to_proto(build([node("Gemm", "x fc.weight", transB=1)], {"x": draw(2, 64)}, {"fc.weight": draw(64, 64)}))
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, size_threshold=0, location="weights")
    model = load(path)
    assert model.is_external
    module = to_torch(model)
    assert write_back(model, module).is_external, "what did not change stays where it is"
    with torch.no_grad():
        module.get_parameter("fc.weight").mul_(2)
    written = write_back(model, module)
    feed = {"x": draw(2, 64)}
    assert worst(outputs_of_file(written, feed), outputs_of_module(module, model, feed)) <= 1e-6


def test_a_module_from_elsewhere_is_refused() -> None:
    with pytest.raises(InputError, match="not made by to_torch"):
        write_back(_normed(), torch.nn.Linear(2, 2))


def test_a_module_of_another_model_is_refused() -> None:
    other = build([node("Gemm", "x fc.weight", transB=1)], {"x": draw(2, 6)}, {"fc.weight": draw(4, 6)})
    with pytest.raises(InputError, match=r"no initialiser 'fc\.weight'"):
        write_back(_normed(), to_torch(other))
    wider = build([node("Gemm", "x fc.weight", transB=1)], {"x": draw(2, 6)}, {"fc.weight": draw(5, 6)})
    with pytest.raises(InputError, match=r"shape \[4, 6\].*\[5, 6\]"):
        write_back(wider, to_torch(other))

"""Native TensorRT against one that exists only on paper: what is asked of it, in which order, and what is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import onnx
import pytest

from graphprune.base import extras
from graphprune.errors import GraphpruneError, ModelError, OptionError, RuntimeMissing
from graphprune.measure.registry import BenchOptions, runtime
from graphprune.measure.runtime import Runner
from graphprune.measure.tensorrt import TensorRTRuntime
from graphprune.runtime.sessions import RuntimeOptions
from tests.command import command
from tests.graphs import build, random_feeds, residual_mlp
from tests.measure.fake_tensorrt import FakeTensorRT, FakeTorch

torch = pytest.importorskip("torch", reason="torch is not installed; it lends TensorRT its memory")

Installed = Callable[..., FakeTensorRT]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Installed:
    """Puts a TensorRT and a torch with a GPU where there are none; engines are kept in the test's folder."""
    monkeypatch.setenv("GRAPHPRUNE_CACHE", str(tmp_path / "cache"))

    def make(*, has_gpu: bool = True, **settings: Any) -> FakeTensorRT:
        trt = FakeTensorRT(**settings)
        fake = FakeTorch(torch, trt.calls, has_gpu=has_gpu)
        monkeypatch.setitem(sys.modules, "tensorrt", cast(ModuleType, trt))
        monkeypatch.setattr(extras, "torch", lambda: fake)
        return trt

    return make


def opened(proto: onnx.ModelProto, batch: int = 2, **settings: Any) -> Runner:
    return TensorRTRuntime(**settings).open(proto, random_feeds(proto, batch))


@pytest.mark.parametrize(("version", "flags"), [("10.16.1.11", "0b11"), ("11.4.0.106", "0b10")])
def test_networks_are_strongly_typed_and_built_once(installed: Installed, version: str, flags: str) -> None:
    trt = installed(__version__=version)
    first = opened(residual_mlp(1))
    assert f"network {flags}" in trt.calls  # bit 1 is strongly typed; bit 0, explicit batch, is gone in 11
    assert trt.calls.count("build") == 1
    again = opened(residual_mlp(1))
    assert trt.calls.count("build") == 1
    assert (first.facts["engine"], again.facts["engine"]) == ("built", "cache")
    assert first.facts["layers"] == 6


def test_another_model_size_gpu_or_version_is_another_engine(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = installed()
    opened(residual_mlp(1))
    opened(residual_mlp(2))
    opened(residual_mlp(1), batch=3)
    assert trt.calls.count("build") == 3
    extras.torch().cuda.get_device_name = lambda: "Other GPU"
    opened(residual_mlp(1))
    assert trt.calls.count("build") == 4
    other = installed(__version__="10.9.0")
    opened(residual_mlp(1))
    assert other.calls.count("build") == 1


def test_free_axes_are_built_for_the_sizes_that_are_timed(installed: Installed) -> None:
    trt = installed()
    opened(residual_mlp(1, mask=True), batch=5)
    assert [call for call in trt.calls if "profile" in call] == [
        "profile x (5, 4) (5, 4) (5, 4)",
        "profile m (5, 8) (5, 8) (5, 8)",
        "add profile",
    ]


def test_fixed_axes_need_no_profile(installed: Installed) -> None:
    trt = installed()
    opened(build("(float[2,4] x) => (float[2,4] y) { y = Relu(x) }"))
    assert not any("profile" in call for call in trt.calls)


def test_times_of_tactics_are_kept_for_the_next_engine(installed: Installed, tmp_path: Path) -> None:
    trt = installed()
    opened(residual_mlp(1))
    opened(residual_mlp(2))
    assert [call for call in trt.calls if call.startswith("timings")] == ["timings from b''", "timings from b't'"]
    kept = sorted(path.suffix for path in (tmp_path / "cache" / "tensorrt").iterdir())
    assert kept == [".engine", ".engine", ".timing"]
    assert next((tmp_path / "cache" / "tensorrt").glob("*.timing")).read_bytes() == b"tt"


def test_a_cache_that_cannot_be_written_costs_only_time(installed: Installed, tmp_path: Path) -> None:
    trt = installed()
    (tmp_path / "file").write_text("")
    for _ in range(2):
        opened(residual_mlp(1), cache=tmp_path / "file" / "inside")
    assert trt.calls.count("build") == 2


def test_events_stand_around_the_run(installed: Installed) -> None:
    trt = installed()
    runner = opened(residual_mlp(1))
    trt.calls.clear()
    assert runner.device_ms is not None
    assert runner.device_ms() == 1.25
    assert trt.calls == ["event", "enqueue on 7", "event", "wait"]
    trt.calls.clear()
    (output,) = runner.run()
    assert trt.calls == ["enqueue on 7"]
    assert output.shape == (2, 3)
    assert output.dtype == np.float32


def test_a_cuda_graph_is_replayed(installed: Installed) -> None:
    trt = installed()
    runner = opened(residual_mlp(1), cuda_graph=True)
    assert "capture" in trt.calls
    trt.calls.clear()
    assert runner.device_ms is not None
    runner.device_ms()
    runner.run()
    assert trt.calls == ["event", "replay", "event", "wait", "replay"]


def test_files_are_read_by_the_parser_with_their_data(installed: Installed, shipped: Path) -> None:
    trt = installed()
    runner = TensorRTRuntime().open(shipped, {"input": np.zeros((2, 1, 28, 28), np.float32)})
    assert trt.calls.count("build") == 1
    assert runner.run()[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("settings", "width", "says"),
    [
        ({"parse_error": "no importer for Frobnicate\nin node 3"}, 4, "cannot read the model: no importer for Frob"),
        ({"build_error": "out of workspace\nreally"}, 4, "cannot build an engine: out of workspace"),
        ({"output": "FP4"}, 4, "the output y is FP4"),
        ({}, 200, r"does not take x \(2, 200\)"),
    ],
)
def test_what_tensorrt_says_is_passed_on(installed: Installed, settings: Any, width: int, says: str) -> None:
    installed(**settings)
    proto = build(f"(float[N,{width}] x) => (float[N,{width}] y) {{ y = Relu(x) }}")
    with pytest.raises(ModelError, match=says) as raised:
        opened(proto)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("settings", "device", "kind", "says"),
    [
        ({"__version__": "8.6.1"}, "cuda", RuntimeMissing, "10 and 11 are supported"),
        ({"has_gpu": False}, "cuda", RuntimeMissing, "finds no CUDA device"),
        ({}, "cpu", OptionError, "no device 'cpu'"),
        ({}, "cuda:x", OptionError, "no device 'cuda:x'"),
    ],
)
def test_what_cannot_start_says_why(
    installed: Installed, settings: Any, device: str, kind: type[GraphpruneError], says: str
) -> None:
    installed(**settings)
    with pytest.raises(kind, match=says):
        TensorRTRuntime(device).require()


def test_without_the_package_the_exit_code_is_six(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert command(monkeypatch, "bench", shipped, shipped, "--runtime", "tensorrt") == 6
    assert "pip install 'graphprune[tensorrt]'" in capsys.readouterr().err


def test_stubs_alone_are_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    with pytest.raises(RuntimeMissing, match="only its stubs"):
        TensorRTRuntime().require()


def test_it_takes_the_gpu_and_its_own_settings(installed: Installed) -> None:
    installed()
    options = RuntimeOptions(threads=1)
    assert runtime("tensorrt", options, BenchOptions(cuda_graph=True)) == TensorRTRuntime("cuda", cuda_graph=True)
    assert runtime("tensorrt:cuda:1", options) == TensorRTRuntime("cuda:1")
    with pytest.raises(OptionError, match="TensorRT computes in the types of the file"):
        runtime("tensorrt", options, BenchOptions(precision="fp16"))


def test_the_command_shows_both_times(
    installed: Installed, shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed()
    assert command(monkeypatch, "bench", shipped, shipped, "--runtime", "tensorrt", "--duration", "0") == 0
    printed = capsys.readouterr().out
    assert "tensorrt 11.4.0.106 cuda" in printed
    assert "1.250" in printed

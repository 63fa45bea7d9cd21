"""Runtimes: the right one starts or an error says why; what runs on a device is timed with and without the way
there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphprune.base import extras
from graphprune.errors import ModelError, OptionError, RuntimeMissing
from graphprune.measure import machine
from graphprune.measure.ort import OrtRuntime, bound
from graphprune.measure.registry import NAMES, BenchOptions, runtime
from graphprune.measure.runtime import Runner, Source, measure_on
from graphprune.measure.torch import TorchRuntime
from graphprune.pipeline import bench
from graphprune.runtime.sessions import RuntimeOptions, open_session
from tests.command import command
from tests.graphs import random_feeds, residual_mlp, run
from tests.measure.fake_ort import CPU, CUDA, TENSORRT, FakeOrt
from tests.measure.fake_tensorrt import FakeTorch

ONE = RuntimeOptions(threads=1)
Fake = Callable[..., FakeOrt]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a FakeOrt where onnxruntime was."""

    def make(**settings: Any) -> FakeOrt:
        ort = FakeOrt(**settings)
        monkeypatch.setattr(extras, "onnxruntime", lambda: ort)
        return ort

    return make


@dataclass
class Steady:
    """A runtime whose runs take nothing on the host and a set time on the device."""

    times: list[float]
    name: str = "steady"
    opened: list[Source] = field(default_factory=list)

    def require(self) -> None:
        pass

    def open(self, model: Source, feeds: Any) -> Runner:
        self.opened.append(model)
        milliseconds, side = self.times[(len(self.opened) - 1) % len(self.times)], 1 + (len(self.opened) - 1) % 2
        return Runner(lambda: [], lambda: milliseconds, {"nodes": {"here": side}})

    def environment(self) -> dict[str, Any]:
        return {"runtime": "steady"}


def test_time_on_the_device_is_the_runtimes_own() -> None:
    first, second = Path("a.onnx"), Path("b.onnx")
    steady = Steady([8.0, 2.0])
    measured = measure_on(steady, first, second, {"x": np.zeros((5, 2))}, min_seconds=0.0)
    assert steady.opened == [first, second] * 8
    assert measured.device is not None
    assert (measured.device.first.median_ms, measured.device.second.median_ms) == (8.0, 2.0)
    assert measured.device.ratio == 0.25
    assert measured.comparison.first.median_ms < 1.0  # the host's clock, which saw next to nothing
    assert measured.batch == 5
    assert measured.environment["second"] == {"nodes": {"here": 2}}


@dataclass
class Moody(Steady):
    """A runtime whose sessions may be a half slower than their twins for as long as they are open."""

    def open(self, model: Source, feeds: Any) -> Runner:
        self.opened.append(model)
        seconds = self.times[(len(self.opened) - 1) % len(self.times)] / 1e3
        return Runner(lambda: time.sleep(seconds))  # type: ignore[arg-type, return-value]


def test_moods_of_sessions_are_not_taken_for_a_speed_up() -> None:
    moody = Moody([1.0, 1.5, 1.5, 1.0, 1.0, 1.0, 1.5, 1.0])
    measured = measure_on(moody, Path("a.onnx"), Path("b.onnx"), {"x": np.zeros((5, 2))}, min_seconds=0.2).comparison
    assert measured.ratio_low < 0.9 < 1.1 < measured.ratio_high


@pytest.mark.parametrize("name", ["ort", "torch", "torch-compile"])
def test_each_computes_what_the_file_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = residual_mlp(2, mask=True)
    feeds = random_feeds(proto, batch=3)
    if name.startswith("torch"):
        torch = pytest.importorskip("torch", reason="torch is not installed")
        compiled, real = [], torch.compile

        def light(module: Any, **settings: Any) -> Any:
            compiled.append(settings)
            return real(module, backend="eager", **settings)

        monkeypatch.setattr(torch, "compile", light)  # a C++ compiler would take a minute
    chosen = runtime(name, ONE)
    chosen.require()
    runner = chosen.open(proto, dict(reversed(feeds.items())))
    np.testing.assert_allclose(runner.run()[0], run(proto, feeds)[0], rtol=1e-4, atol=1e-5)
    assert runner.device_ms is None
    environment = chosen.environment()
    assert environment["threads"] == 1
    assert environment["runtime"].startswith(("onnxruntime ", "torch "))
    if name == "torch-compile":
        assert compiled == [{"dynamic": False}]
        assert environment["runtime"].endswith(" compile")


def test_precision_converts_weights_and_float_inputs() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    proto = residual_mlp(2)
    feeds = random_feeds(proto)
    (found,) = TorchRuntime(precision="bf16").open(proto, feeds).run()
    expected = run(proto, feeds)[0]
    assert found.dtype == np.float32
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 1e-4 < error < 5e-2  # eight bits of mantissa


@pytest.mark.parametrize(
    ("spec", "options", "bench", "says"),
    [
        ("tflite", ONE, BenchOptions(), "there is no runtime 'tflite'"),
        ("ort", ONE, BenchOptions(precision="bf16"), "computes in the types of the file"),
        ("ort", ONE, BenchOptions(cuda_graph=True), "does nothing on cpu"),
        ("torch-compile", ONE, BenchOptions(cuda_graph=True), "--cuda-graph is not for torch-compile"),
        ("ort:gpu9", ONE, BenchOptions(), "there is no provider 'gpu9'"),
        ("ort:cuda:x", ONE, BenchOptions(), "names the device 'x'"),
        ("torch:tpu", ONE, BenchOptions(), "torch has no device 'tpu'"),
        ("torch:cuda:x", ONE, BenchOptions(), "torch has no device 'cuda:x'"),
        ("torch-cudagraph:cpu", ONE, BenchOptions(), "needs a CUDA device"),
    ],
)
def test_what_cannot_be_is_refused(spec: str, options: RuntimeOptions, bench: BenchOptions, says: str) -> None:
    if spec.startswith("torch"):
        pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(OptionError, match=says):
        runtime(spec, options, bench).require()


@pytest.mark.parametrize("spec", ["torch:cuda", "torch-cudagraph", "torch-compile:cuda:0"])
def test_torch_without_a_gpu_is_missing_not_slow(spec: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(RuntimeMissing, match="finds no CUDA device"):
        runtime(spec, ONE).require()


def test_torch_says_what_it_cannot_run() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    proto = residual_mlp(1)
    with pytest.raises(ModelError, match="torch cannot run the model"):
        TorchRuntime().open(proto, {"x": np.zeros((2, 9), np.float32)})


def test_gpu_sessions_bind_their_buffers(fake: Fake) -> None:
    ort = fake(nodes={CUDA: 7, CPU: 2})
    runner = OrtRuntime(RuntimeOptions("cuda:1", 1)).open(residual_mlp(1), {"x": np.zeros((4, 4), np.float32)})
    stop, record, preload, session = ort.calls[:4]
    assert (stop, record) == ("session.force_spinning_stop=1", "session.record_ep_graph_assignment_info=1")
    assert preload == "preload"
    assert session == f"session {CUDA} {{'device_id': '1'}}"
    assert ort.calls[4:9] == [
        "bind x (4, 4) on cuda:1",
        "bind y cuda:1",
        "gpu_graph_id=-1",
        "bound run",
        "bind y the place of y",
    ]
    assert runner.facts == {"nodes": {CUDA: 7, CPU: 2}}
    ort.calls.clear()
    assert runner.device_ms is not None
    assert runner.device_ms() > 0
    assert ort.calls == ["wait for inputs", "bound run", "wait for outputs"]
    ort.calls.clear()
    runner.run()  # end to end: from host memory and back, through the same places
    assert ort.calls == ["(4, 4) to (4, 4) on cuda:1", "bound run", "fetch the place of y"]


def test_bound_buffers_are_what_onnx_runtime_takes() -> None:
    """The same calls on the real one, its device being the CPU."""
    proto = residual_mlp(2, mask=True)
    feeds = random_feeds(proto, batch=3)
    given = {name: array.copy() for name, array in feeds.items()}
    runner = bound(open_session(proto, ONE), given, ("cpu", 0), {})
    np.testing.assert_allclose(runner.run()[0], run(proto, feeds)[0], rtol=1e-5, atol=1e-6)
    given["x"][:] = 1  # what lies in host memory now is what the next run takes
    assert runner.device_ms is not None
    assert runner.device_ms() > 0
    np.testing.assert_allclose(runner.run()[0], run(proto, given)[0], rtol=1e-5, atol=1e-6)


def test_cuda_graphs_are_the_providers_own_option(fake: Fake) -> None:
    ort = fake()
    for place, key in (("cuda", "enable_cuda_graph"), ("trt", "trt_cuda_graph_enable")):
        runtime(f"ort:{place}", ONE, BenchOptions(cuda_graph=True)).open(residual_mlp(1), {"x": np.zeros((1, 4))})
        assert any(key in call for call in ort.calls)


def test_a_provider_that_takes_no_node_has_not_started(fake: Fake) -> None:
    fake(nodes={CPU: 9})
    with pytest.raises(RuntimeMissing, match=f"{TENSORRT} took none of the 9 nodes") as raised:
        OrtRuntime(RuntimeOptions("trt", 1)).open(residual_mlp(1), {"x": np.zeros((1, 4))})
    assert raised.value.exit_code == 6


def test_a_fallback_is_an_error_and_leaves_stdout_alone(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake(starts=(CPU,))
    with pytest.raises(RuntimeMissing, match=r"did not start.*libnvinfer\.so\.10.*graphprune doctor"):
        open_session(residual_mlp(1), RuntimeOptions("trt", 1))
    assert capsys.readouterr().out == ""


def test_nodes_left_to_another_provider_are_shown(
    fake: Fake, shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(nodes={TENSORRT: 3, CPU: 2})
    assert command(monkeypatch, "bench", shipped, shipped, "--runtime", "ort:trt", "--duration", "0") == 0
    printed = capsys.readouterr().out
    assert "on device" in printed
    assert "2 on CPUExecutionProvider" in " ".join(printed.split())


def test_one_table_for_several_runtimes(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    report = tmp_path / "bench.json"
    line = ["--runtime", "ort", "--runtime", "torch", "--duration", "0", "--threads", "1", "--json", report]
    assert command(monkeypatch, "bench", shipped, shipped, *line) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80 or "on onnxruntime" in printed
    assert "torch" in printed
    content = json.loads(report.read_text())
    assert [each["environment"]["runtime"].split()[0] for each in content["measurements"]] == ["onnxruntime", "torch"]
    assert content["measurements"][0]["comparison"]["pairs"] >= 5


def test_a_runtime_that_is_missing_ends_before_anything_is_timed(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    timed: list[object] = []
    monkeypatch.setattr(bench, "measure_on", lambda *given, **settings: timed.append(given))
    line = ["--runtime", "ort", "--runtime", "torch-cudagraph"]
    assert command(monkeypatch, "bench", shipped, shipped, *line) == 6
    shown = capsys.readouterr()
    assert "finds no CUDA device" in shown.err
    assert (shown.out, timed) == ("", [])


def test_names_are_those_of_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "bench", "--help") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(f" {name}" in printed for name in NAMES)


def test_clocks_of_the_gpu_are_asked_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "H100, 580.1, 1980, 1980, 2619, 71.30, [N/A]"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    facts = machine.gpu(1)
    assert (facts["gpu"], facts["sm_mhz"], facts["power_watts"], facts["celsius"]) == ("H100", 1980.0, 71.3, "[N/A]")
    assert "--id=5" in (tmp_path / "asked").read_text()


def test_a_machine_without_one_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu() == {}


def test_governor_and_clock_where_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scaling_governor").write_text("performance\n")
    (tmp_path / "scaling_cur_freq").write_text("3100000\n")
    monkeypatch.setattr(machine, "_FREQUENCY", tmp_path)
    assert machine.host() | {"governor": "performance", "cpu_mhz": 3100} == machine.host()
    (tmp_path / "scaling_cur_freq").write_text("<unknown>\n")
    assert "cpu_mhz" not in machine.host()
    monkeypatch.setattr(machine, "_FREQUENCY", tmp_path / "none")
    (tmp_path / "cpuinfo").write_text("model name : Fast\ncpu MHz : 2000.1\ncpu MHz : 2445.4\n")
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    assert (machine.host()["cpu_mhz"], machine.host()["processor"]) == (2445, "Fast")


@pytest.mark.parametrize("name", ["torch", "torch-cudagraph", "torch-compile-cudagraph"])
def test_torch_on_a_device_is_timed_by_events(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of a GPU, walked on the CPU: real tensors, and streams, events and graphs that say when they are used."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    calls: list[str] = []
    fake = FakeTorch(torch, calls)
    monkeypatch.setattr(fake, "compile", lambda module, dynamic: module, raising=False)
    monkeypatch.setattr(extras, "torch", lambda: fake)
    monkeypatch.setattr(TorchRuntime, "require", lambda self: None)
    monkeypatch.setattr(TorchRuntime, "_is_cuda", True)
    proto = residual_mlp(2)
    feeds = random_feeds(proto)
    runner = TorchRuntime(name, "cpu").open(proto, feeds)
    calls.clear()
    assert runner.device_ms is not None
    assert runner.device_ms() == 1.25
    replayed = ["replay"] if name.endswith("cudagraph") else []
    assert calls == ["event", *replayed, "event", "wait"]
    calls.clear()
    np.testing.assert_allclose(runner.run()[0], run(proto, feeds)[0], rtol=1e-4, atol=1e-5)
    assert calls == replayed

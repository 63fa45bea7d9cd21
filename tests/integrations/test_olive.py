"""Olive runs our passes, finds them through the merged package config, and hears about what went wrong."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import passes
from graphprune.plan.plan import Plan
from tests.command import command
from tests.graphs import residual_mlp
from tests.small_cnns import flattened

ROOT = Path(__file__).parent.parent.parent
WORKFLOW = ROOT / "docs" / "olive" / "prune_then_quantise.json"

pytestmark = pytest.mark.slow  # importing Olive takes seconds


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLIVE_DISABLE_TELEMETRY", "1")


@pytest.fixture(scope="module")
def olive() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLIVE_DISABLE_TELEMETRY", "1")
        return pytest.importorskip("olive", reason="Olive is not installed (pip install 'graphprune[olive]')")


def cpu() -> Any:
    from olive.hardware import DEFAULT_CPU_ACCELERATOR

    return DEFAULT_CPU_ACCELERATOR


def olive_pass(name: str, *, search: bool = False, **settings: Any) -> Any:
    """The pass as Olive's engine makes it."""
    from graphprune.integrations import olive as ours

    kind = getattr(ours, name)
    config = kind.generate_config(cpu(), settings, disable_search=not search)
    return kind(cpu(), config)


def handler(model: onnx.ModelProto, folder: Path, *, is_external: bool = False) -> Any:
    from olive.model import ONNXModelHandler

    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx", save_as_external_data=is_external, location="w.bin", size_threshold=0)
    return ONNXModelHandler(folder if is_external else folder / "model.onnx")


def test_without_olive_the_way_to_get_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "olive.package_config", None)
    assert command(monkeypatch, "olive-config", "-o", tmp_path / "packages.json") == 6
    assert "pip install 'graphprune[olive]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_package_config_is_olives_own_with_every_pass_of_ours(
    olive: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from olive.package_config import OlivePackageConfig
    from olive.passes import Pass

    path = tmp_path / "packages.json"
    assert command(monkeypatch, "olive-config", "-o", path) == 0
    assert command(monkeypatch, "olive-config") == 0
    assert capsys.readouterr().out == path.read_text()
    merged = json.loads(path.read_text())
    own = json.loads(Path(OlivePackageConfig.get_default_config_path()).read_text())
    ours = {name: merged["passes"].pop(name) for name in list(merged["passes"]) if name.startswith("Graphprune")}
    assert merged == own
    assert len(ours) == len(passes.names())

    config = OlivePackageConfig.parse_file_or_obj(path)
    for name in passes.names():
        kind = passes.find(name)
        made = config.import_pass_module(f"Graphprune{kind.__name__}".lower())
        assert issubclass(made, Pass)
        assert made.kind is kind
        assert Pass.registry[made.__name__.lower()] is made
        assert set(made.default_config(cpu())) >= {field.name for field in graphprune_options(kind)}
        assert not made.is_accelerator_agnostic(cpu())


def graphprune_options(kind: Any) -> Any:
    from graphprune.pass_infra.base import option_infos

    return option_infos(kind)


def test_an_output_that_is_a_folder_is_refused(olive: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert command(monkeypatch, "olive-config", "-o", tmp_path) == 1


def test_options_keep_their_types_and_a_search_varies_the_target(olive: Any) -> None:
    from graphprune.integrations.olive import GraphpruneLayerCKA
    from graphprune.integrations.olive_settings import SEARCHED_TARGETS, pass_of

    settings: dict[str, Any] = {"floor": 1, "exclude": ["a.*", "b"], "reference": "original", "skip_first": None}
    config = GraphpruneLayerCKA.generate_config(cpu(), settings, disable_search=True)
    found = pass_of(GraphpruneLayerCKA.kind, config.model_dump())
    assert found == graphprune.LayerCKA(floor=1, exclude=("a.*", "b"), reference="original")
    assert config.target is None
    assert config.stop_on_failure
    _, fixed, searched = GraphpruneLayerCKA.get_config_params(cpu(), {"floor": 1})
    assert list(searched) == ["target"]
    assert searched["target"].get_support() == list(SEARCHED_TARGETS)
    assert fixed["stop_on_failure"] is False
    _, _, searched = GraphpruneLayerCKA.get_config_params(cpu(), {"target": ["removed=1", "removed=2"]})
    assert searched["target"].get_support() == ["removed=1", "removed=2"]
    _, fixed, searched = GraphpruneLayerCKA.get_config_params(cpu(), {"target": "removed=1"})
    assert fixed["target"] == "removed=1"
    assert not searched


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"target": "flops=2"}, "must lie between 0 and 1"),
        ({"target": "size=1"}, "is no target"),
        ({"repair": "magic"}, "is no repair"),
        ({"align": "wide"}, "whole number of at least 1, or auto"),
        ({"align": 0}, "whole number of at least 1, or auto"),
        ({"input_shapes": {"x": "1x3"}}, "the shape of 'x' is 1x3"),
        ({"val_range": {"ids": [5, 1]}}, r"the range of 'ids' is \[5, 1\]"),
        ({"reference": "other"}, "reference"),
        ({"floor": "many"}, "floor"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(olive: Any, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        olive_pass("GraphpruneLayerCKA", **settings)


def quick(**settings: Any) -> dict[str, Any]:
    return {"bench": False, "repair": "none", "threads": 1, **settings}


def test_pass_does_what_the_command_does(olive: Any, tmp_path: Path) -> None:
    """Labels included: filter-pls-vip needs them, and Olive's own calibration reader drops them."""
    from olive.data.registry import Registry

    generator = np.random.default_rng(0)
    images = generator.normal(size=(48, 3, 8, 8)).astype(np.float32)
    labels = generator.integers(0, 4, 48)
    np.savez(tmp_path / "data.npz", x=images, labels=labels)

    @Registry.register_dataset()  # type: ignore[untyped-decorator,unused-ignore]  # Olive has no types
    def labelled_images(**_: Any) -> Any:
        return [({"x": image}, int(label)) for image, label in zip(images, labels, strict=True)]

    data_config = {
        "name": "images",
        "load_dataset_config": {"type": "labelled_images"},
        "dataloader_config": {"params": {"batch_size": 7}},
    }
    settings = quick(target="flops=0.7", val_range={"x": [-1, 1]}, align=2)
    given = handler(flattened(), tmp_path / "given")
    outputs = {}
    for source in ({"data_config": data_config}, {"data": str(tmp_path / "data.npz")}):
        step = olive_pass("GraphpruneFilterPLSVIP", **settings, **source)
        made = step.run(given, str(tmp_path / next(iter(source))))
        outputs[next(iter(source))] = made
    options = graphprune.RunOptions(
        align=2, timing=graphprune.TimingOptions(measure_latency=False), recovery=graphprune.RecoveryOptions(repair=())
    )
    expected = graphprune.prune(
        given.model_path,
        ["filter-pls-vip"],
        tmp_path / "data.npz",
        "flops=0.7",
        tmp_path / "direct.onnx",
        options=options,
    )
    for made in outputs.values():
        folder = Path(made.model_path).parent
        assert Path(made.model_path).read_bytes() == (tmp_path / "direct.onnx").read_bytes()
        plan = Plan.load(folder / "filter-pls-vip.plan.json")
        assert plan.decisions == expected.plan.decisions
        assert json.loads((folder / "filter-pls-vip.result.json").read_text())["asked"] == "flops=0.7"
        names = [Path(file).name for file in made.model_attributes["additional_files"]]
        assert names == ["filter-pls-vip.plan.json", "filter-pls-vip.result.json"]


@pytest.mark.parametrize("is_external", [False, True])
def test_the_same_pass_twice_leaves_both_plans(olive: Any, is_external: bool, tmp_path: Path) -> None:
    given = handler(residual_mlp(4, 32), tmp_path / "given", is_external=is_external)
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32))
    settings = quick(target="removed=1", floor=0, skip_first=False, data=str(tmp_path / "data.npz"))
    for number in (1, 2):
        given = olive_pass("GraphpruneLayerCKA", **settings).run(given, str(tmp_path / f"step{number}"))
    names = {Path(file).name for file in given.model_attributes["additional_files"]}
    assert {"layer-cka.plan.json", "layer-cka-2.plan.json"} <= names
    assert all(Path(file).is_file() for file in given.model_attributes["additional_files"])
    assert (Path(given.model_path).parent / "model.onnx.data").is_file() == is_external
    assert sum(node.op_type == "Add" for node in onnx.load(given.model_path).graph.node) == 2


@pytest.mark.parametrize("is_search", [False, True])
def test_outcomes_end_a_workflow_but_not_a_search(olive: Any, is_search: bool, tmp_path: Path) -> None:
    from olive.exception import EXCEPTIONS_TO_RAISE, OliveError, OlivePassError

    given = handler(residual_mlp(4), tmp_path / "given")
    step = olive_pass("GraphpruneLayerCKA", search=is_search, **quick(target="removed=99", allow_made_up_data=True))
    with pytest.raises(OliveError, match=r"^layer-cka: the target removed=99 cannot be reached") as caught:
        step.run(given, str(tmp_path / "out"))
    assert isinstance(caught.value, OlivePassError) == is_search
    assert isinstance(caught.value, EXCEPTIONS_TO_RAISE) == (not is_search)
    assert not list((tmp_path / "out").iterdir())


def broken(**_: Any) -> Any:
    raise KeyError("images")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"data": "nowhere.npz"}, "layer-cka: there is no data file"),
        ({"data": "a.npz", "data_config": {"name": "broken"}}, "data and data_config are both given; keep one"),
        ({"require_data": True}, "no calibration data was given"),
        (
            {"data_config": {"name": "broken", "load_dataset_config": {"type": "broken"}}},
            "the data config 'broken' failed: KeyError: 'images'",
        ),
    ],
)
@pytest.mark.parametrize("is_search", [False, True])
def test_mistakes_end_a_search_too(
    olive: Any, is_search: bool, settings: dict[str, Any], says: str, tmp_path: Path
) -> None:
    from olive.data.registry import Registry
    from olive.exception import OliveError, OlivePassError

    Registry.register_dataset("broken")(broken)
    step = olive_pass("GraphpruneLayerCKA", search=is_search, **quick(target="removed=1", **settings))
    with pytest.raises(OliveError, match=says) as caught:
        step.run(handler(residual_mlp(4), tmp_path / "given"), str(tmp_path / "out"))
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, OlivePassError)


def test_olive_runs_the_documented_workflow(
    olive: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """``olive run`` on the shipped network: prune, then quantise; fewer samples than in the document."""
    from olive.cli.launcher import main

    (tmp_path / "models").symlink_to(ROOT / "models")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    workflow = json.loads(WORKFLOW.read_text())
    workflow["passes"]["prune"] |= {"num_samples": 64, "repair": "stats", "bench": False}
    workflow["data_configs"][0]["load_dataset_config"]["params"]["limit"] = 64
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    assert command(monkeypatch, "olive-config", "-o", "packages.json") == 0
    monkeypatch.setattr(logging.getLogger("olive"), "propagate", True)
    main(["run", "--config", "workflow.json", "--package-config", "packages.json"])

    assert "asked removed=3, reached 3" in caplog.text
    assert "Running pass prune:graphprunelayercka" in caplog.text
    out = tmp_path / "pruned_int8"
    assert {file.name for file in out.iterdir()} >= {"model.onnx", "layer-cka.plan.json", "layer-cka.result.json"}
    assert len(Plan.load(out / "layer-cka.plan.json").blocks) == 3
    small = onnx.load(out / "model.onnx")
    assert any(node.op_type == "QuantizeLinear" for node in small.graph.node)
    assert (out / "model.onnx").stat().st_size < (ROOT / "models" / "fashion_resnet32.onnx").stat().st_size / 3
    assert top1(out / "model.onnx", 200) > 0.9


def top1(model: Path, count: int) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    with np.load(ROOT / "models" / "fashion_eval.npz") as data:
        images, labels = data["input"][:count], data["labels"][:count]
    (scores,) = session.run(None, {"input": images})
    return float((scores.argmax(1) == labels).mean())

"""What Python users see: names, results that tell themselves, and wrong types in one sentence."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphprune
from graphprune import passes
from graphprune.errors import GraphpruneError
from graphprune.report.inspection import Inspection
from tests.graphs import residual_mlp, run
from tests.passes.asking import pruned
from tests.passes.last_layer import samples


def test_every_pass_is_at_the_top_and_seen() -> None:
    """By ``dir``, by help, and by completion, which takes ``dir``."""
    for name in passes.names():
        kind = passes.find(name)
        assert getattr(graphprune, kind.__name__) is kind
        assert kind.__name__ in dir(graphprune)
        assert (kind.__doc__ or "").strip()
    for name in ("prune", "apply", "inspect", "bench", "evaluate", "finetune", "heal", "load"):
        assert name in dir(graphprune)
        assert inspect.signature(getattr(graphprune, name)).parameters


def test_a_result_tells_itself(tmp_path: Path) -> None:
    proto = residual_mlp(3)
    data = {"x": samples(proto)}
    result = pruned(proto, "layer-cka", data, "removed=1")
    text = repr(result)
    assert text.startswith("Result(") and "MACs -" in text and text.endswith("proved)")
    assert len(text) < 200 and "\n" not in text
    assert str(result) == text
    lines = result.summary().splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("MACs") for line in lines)
    page = result._repr_html_()
    assert "<script" not in page and "MACs" in page and page.count("<details>") == 1
    written = result.to_onnx(tmp_path / "small.onnx")
    again = run(onnx.load(tmp_path / "small.onnx"), data)[0]
    np.testing.assert_array_equal(run(written, data)[0], again)


def test_a_name_of_a_file_breaks_out_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "<b>x.onnx"
    onnx.save(residual_mlp(3), path)
    result = graphprune.prune(path, "layer-cka", {"x": samples(residual_mlp(3))}, "removed=1", dry_run=True)
    assert "<b>" not in result._repr_html_()


def test_functions_do_what_the_commands_do(tmp_path: Path) -> None:
    dense, small = tmp_path / "dense.onnx", tmp_path / "small.onnx"
    proto = residual_mlp(3)
    data = {"x": samples(proto)}
    onnx.save(proto, dense)
    pruned(proto, "layer-cka", data, "removed=1").to_onnx(small)
    joins = graphprune.inspect(dense)
    assert isinstance(joins, Inspection)
    assert [row.rule for row in joins.rows] == [""] * 3
    assert graphprune.inspect(dense, groups=True).rows
    (found,) = graphprune.bench(dense, small, data, options=graphprune.RunOptions(timing=quick()))
    assert found.comparison.ratio > 0
    report = graphprune.evaluate(dense, small, data=data)
    assert len(report.models) == 2


def test_folders_are_taken_like_files(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    onnx.save(residual_mlp(3), folder / "model.onnx")
    assert graphprune.inspect(folder).rows
    (found,) = graphprune.bench(folder, folder, options=graphprune.RunOptions(timing=quick()))
    assert found.comparison.ratio > 0


def quick() -> graphprune.TimingOptions:
    return graphprune.TimingOptions(seconds=0.01)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((5, "layer-cka"), {}, "the model is of type int; give the path of an .onnx file"),
        (("m", 5), {}, "passes is of type int; give its name"),
        (("m", None), {}, "passes is of type NoneType"),
        (("m", [5]), {}, "a int is no pass"),
        (("m", "layer-cka", None, 0.5), {}, "target 0.5 does not say of what"),
        (("m", "layer-cka", None, "removed=1", 5), {}, "output is of type int; give the path"),
        (("m", "layer-cka"), {"options": {"batch": 4}}, "options is a dict"),
        (("m", graphprune.LayerCKA(floor="x")), {}, "option floor of pass layer-cka is 'x'; write int or auto"),  # type: ignore[arg-type]
        (("m", graphprune.LayerCKA(exclude="a")), {}, "option exclude of pass layer-cka is 'a'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_in_one_sentence(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphpruneError) as caught:
        graphprune.prune(*arguments, **options)
    assert message in str(caught.value)


def test_wrong_types_elsewhere() -> None:
    for call, message in (
        (lambda: graphprune.load(5), "the model is of type int"),  # type: ignore[arg-type]
        (lambda: graphprune.apply("m", 5), "the plan is of type int"),  # type: ignore[arg-type]
        (lambda: graphprune.inspect(5), "the model is of type int"),  # type: ignore[arg-type]
        (lambda: graphprune.bench("m", 5), "the model is of type int"),  # type: ignore[arg-type]
        (lambda: graphprune.evaluate(5, data="x"), "the model is of type int"),  # type: ignore[arg-type]
        (lambda: graphprune.evaluate(data="x"), "there is no model to evaluate"),
    ):
        with pytest.raises(GraphpruneError, match=message):
            call()

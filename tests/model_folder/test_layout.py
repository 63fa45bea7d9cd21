from __future__ import annotations

from pathlib import Path

import pytest

from graphprune.errors import ModelError
from graphprune.model_folder.layout import find, members
from tests.model_folder.by_hand import GENAI, dense, lay_down


@pytest.mark.parametrize(
    ("files", "model"),
    [
        ({"model.onnx": "", "other.onnx": ""}, "model.onnx"),
        ({"onnx/model.onnx": "", "onnx/model_fp16.onnx": ""}, "onnx/model.onnx"),
        ({"onnx/model_fp16.onnx": ""}, "onnx/model_fp16.onnx"),
        (
            {"phi.onnx": "", "model.onnx": "", "genai_config.json": '{"model": {"decoder": {"filename": "phi.onnx"}}}'},
            "phi.onnx",
        ),
    ],
)
def test_the_network_is_where_the_tools_look_for_it(tmp_path: Path, files: dict[str, str], model: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert find(tmp_path).model == model


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no .onnx file"),
        ({"a.onnx": "", "b.onnx": ""}, "several models"),
        ({"genai_config.json": "{"}, "not JSON"),
        ({"genai_config.json": "[]"}, "no JSON object"),
        ({"genai_config.json": "[" * 100_000}, "not JSON"),
        ({"genai_config.json": '{"model": {"decoder": 3}}', "model.onnx": ""}, "names no file"),
        ({"genai_config.json": '{"model": {"decoder": {"filename": "../model.onnx"}}}'}, "no file inside"),
        ({"genai_config.json": '{"model": {"decoder": {"filename": "/model.onnx"}}}'}, "no file inside"),
        ({"genai_config.json": '{"model": {"decoder": {"filename": "gone.onnx"}}}'}, "there is no file"),
    ],
)
def test_what_is_no_such_folder_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=message):
        find(tmp_path)


def test_other_forms_of_the_network_stay_behind(tmp_path: Path) -> None:
    stale = ["model.safetensors", "onnx/model_q4.onnx", "onnx/model_fp16.onnx", "onnx/model_fp16.onnx_data"]
    kept = ["config.json", "onnx/notes.txt", "tokenizer.json", "vision.onnx"]
    here = lay_down(tmp_path / "llm", dense(), dict.fromkeys([*stale, *kept], "x"), "onnx/model.onnx")
    found = members(find(here), (here / "onnx" / "model.onnx",))
    assert (sorted(found.left_out), sorted(found.copied)) == (sorted(stale), sorted(kept))


def test_files_that_the_configuration_names_go_along(tmp_path: Path) -> None:
    config = {"model": {"decoder": {"filename": "model.onnx"}, "vision": {"filename": "model_vision.onnx"}}}
    files = {"genai_config.json": config, "model_vision.onnx": "x", "model_vision.onnx.data": "x"}
    found = members(find(lay_down(tmp_path / "llm", dense(), files)), ())
    assert found.left_out == () and len(found.copied) == 3


@pytest.mark.parametrize("name", ["tokenizer.json", "model.onnx", "folder"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    here = lay_down(tmp_path / "llm", dense(), {"genai_config.json": GENAI})
    outside = tmp_path / "outside"
    outside.mkdir() if name == "folder" else outside.write_text("secret")
    (here / name).unlink(missing_ok=True)
    (here / name).symlink_to(outside)
    with pytest.raises(ModelError, match="link out of its folder"):
        members(find(here), ())

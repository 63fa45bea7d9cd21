"""Folders of pictures as samples: order, labels, fit, layout, habits, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphprune.data.dataset import load_data
from graphprune.data.image_options import ImageOptions, habit_of
from graphprune.errors import DataError, OptionError
from graphprune.ir.loading import load
from graphprune.ir.model import Model
from tests.graphs import build


def model(dims: str = "N,3,8,8", kind: str = "float") -> Model:
    return load(build(f"({kind}[{dims}] x) => ({kind}[{dims}] y) {{ y = Identity(x) }}", {}))


def picture(path: Path, array: np.ndarray, **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **more)  # type: ignore[arg-type]


def flat(value: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def samples(folder: Path | str, options: ImageOptions, given: Model | None = None) -> np.ndarray:
    data = load_data(folder, given or model(), images=options)
    return np.concatenate([part.feeds["x"] for part in data.batches(7)])


def test_class_folders_give_labels_and_any_prefix_has_all_classes(tmp_path: Path) -> None:
    for number, name in enumerate(("cat", "dog", "emu")):
        for index in range(20):
            picture(tmp_path / name / f"{index}.png", flat(10 * number + index % 5))
    data = load_data(tmp_path, model(), 15)
    parts = list(data.batches(4))
    labels = np.concatenate([part.labels for part in parts if part.labels is not None])
    assert len(labels) == 15 and set(labels) == {0, 1, 2}
    shown = np.concatenate([part.feeds["x"] for part in parts])[:, 0, 0, 0] * 255
    np.testing.assert_array_equal(np.round(shown) // 10, labels)
    again = np.concatenate([part.feeds["x"] for part in load_data(tmp_path, model(), 15).batches(15)])
    np.testing.assert_array_equal(again[:, 0, 0, 0] * 255, shown)


def test_without_class_folders_there_are_no_labels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", flat(3))
    picture(tmp_path / "more" / "b.JPG", flat(9))
    (part,) = load_data(tmp_path, model()).batches(8)
    assert part.labels is None and len(part) == 2


@pytest.mark.parametrize("kind", ["float", "uint8", "float16"])
@pytest.mark.parametrize("dims", ["N,3,8,8", "N,8,8,3", "N,1,8,8"])
def test_layout_channels_and_type_are_the_models(tmp_path: Path, dims: str, kind: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    picture(tmp_path / "a.png", array)
    found = samples(tmp_path, ImageOptions(), model(dims, kind))[0]
    expected = np.asarray(Image.fromarray(array).convert("L"))[None] if "1" in dims else array.transpose(2, 0, 1)
    if dims.endswith("3"):
        expected = array
    assert found.dtype == {"float": np.float32, "uint8": np.uint8, "float16": np.float16}[kind]
    scale = 1 if kind == "uint8" else 255
    np.testing.assert_allclose(found.astype(np.float32) * scale, expected, atol=0.1)


def test_mean_and_deviation_are_of_pixels_between_0_and_1(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", np.dstack([flat(51)[..., 0], flat(102)[..., 0], flat(255)[..., 0]]))
    found = samples(tmp_path, ImageOptions(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)))[0, :, 0, 0]
    np.testing.assert_allclose(found, [(0.2 - 0.1) / 0.5, (0.4 - 0.2) / 0.25, (1 - 0.3) / 2], rtol=1e-5)
    named = samples(tmp_path, ImageOptions("imagenet", std=(1.0,)))[0, :, 0, 0]
    np.testing.assert_allclose(named, np.array([0.2, 0.4, 1]) - [0.485, 0.456, 0.406], rtol=1e-5)


def test_crop_letterbox_and_stretch(tmp_path: Path) -> None:
    """A wide picture: dark ends, bright middle."""
    wide = flat(0, 8, 24)
    wide[:, 8:16] = 255
    picture(tmp_path / "a.png", wide)
    cropped, boxed, stretched = (
        samples(tmp_path, ImageOptions(fit=fit))[0, 0] * 255 for fit in ("crop", "letterbox", "stretch")
    )
    assert cropped.min() == 255
    np.testing.assert_allclose(boxed[0], 114, atol=1e-3)
    assert boxed[4, 0] < 30 and boxed[4, 4] > 200
    assert stretched[0, 0] < 30 and stretched[0, 4] > 200
    inner = samples(tmp_path, ImageOptions(fit="crop", crop_share=0.5))[0, 0] * 255
    assert inner.min() == 255


def test_pictures_are_as_the_camera_was_held(tmp_path: Path) -> None:
    array = flat(0)
    array[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    picture(tmp_path / "a.png", array, exif=exif)
    found = samples(tmp_path, ImageOptions())[0, 0]
    assert found[:, -1].min() == 1 and found[:, :-1].max() == 0


def test_settings_of_transformers(tmp_path: Path) -> None:
    held = {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 0.00392156862745098,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
        "resample": 3,
    }
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(held))
    found = habit_of(str(path))
    assert (found.size, found.fit, found.resample) == ((224, 224), "crop", "bicubic")
    assert (found.mean, found.std) == ((0.5,) * 3, (0.25,) * 3)
    assert found.scale == pytest.approx(1 / 255)
    assert found.crop_share == pytest.approx(224 / 256)
    path.write_text(json.dumps({"size": {"height": 30, "width": 40}, "do_normalize": False}))
    found = habit_of(str(path))
    assert (found.size, found.fit, found.mean) == ((30, 40), "stretch", (0.0,))


def test_a_guess_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", flat(3))
    (told,) = load_data(tmp_path, model()).conversions.values()
    assert "scaled to [0, 1] and nothing else" in told
    assert not load_data(tmp_path, model(), images=ImageOptions("imagenet")).conversions
    assert not load_data(tmp_path, model("N,3,8,8", "uint8")).conversions


def test_a_free_size_is_asked_for(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", flat(3))
    free = model("N,3,H,W")
    with pytest.raises(OptionError, match=r"pictures of any size .* add --image"):
        load_data(tmp_path, free)
    assert samples(tmp_path, ImageOptions(size=(5, 6)), free).shape == (1, 3, 5, 6)
    assert samples(tmp_path, ImageOptions("imagenet"), free).shape == (1, 3, 224, 224)
    assert samples(tmp_path, ImageOptions("imagenet", size=(32, 32)), free).shape == (1, 3, 32, 32)
    last = ImageOptions(size=(5, 6), layout="nhwc")
    assert samples(tmp_path, last, model("N,A,B,C")).shape == (1, 5, 6, 3)


@pytest.mark.parametrize(
    ("dims", "options", "message"),
    [
        ("N,3,8,8", ImageOptions("imagnet"), "there is no preprocessing 'imagnet'; write imagenet"),
        ("N,3,8,8", ImageOptions("none.json"), "none.json cannot be read"),
        ("N,3,8,8", ImageOptions(size=(9, 9)), "--image 9x9 is not what"),
        ("N,3,8,8", ImageOptions(mean=(0.1, 0.2)), "2 means or deviations"),
        ("N,4,8,8", ImageOptions(), "1 or 3 channels"),
        ("N,8", ImageOptions(), "pictures have height and width"),
    ],
)
def test_refuses(tmp_path: Path, dims: str, options: ImageOptions, message: str) -> None:
    picture(tmp_path / "a.png", flat(3))
    with pytest.raises((DataError, OptionError), match=message):
        load_data(tmp_path, model(dims), images=options)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a.png cannot be read.*take it out"):
        samples(tmp_path, ImageOptions())


def test_two_inputs_are_refused_and_arrays_come_first(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", flat(3))
    two = load(build("(float[N,3,8,8] x, float[N,3,8,8] z) => (float[N,3,8,8] y) { y = Add(x, z) }", {}))
    with pytest.raises(DataError, match="holds pictures, the model has 2 inputs"):
        load_data(tmp_path, two)
    np.save(tmp_path / "x.npy", np.ones((2, 3, 8, 8), np.float32))
    assert load_data(tmp_path, model()).kind == "folder"

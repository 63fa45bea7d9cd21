"""Images lie channels last, but where oneDNN would write past the end of a tensor."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from graphprune.training.memory_layout import layout_of  # noqa: E402

CPU = "cpu"


def convolutions(inputs: int, kernel: int, stride: int) -> Any:
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(3, inputs, 3), nn.ReLU(), nn.Conv2d(inputs, 16, kernel, stride))


@pytest.mark.parametrize(
    ("inputs", "kernel", "stride", "device", "is_last"),
    [(6, 1, 2, CPU, False), (8, 1, 2, CPU, True), (6, 3, 2, CPU, True), (6, 1, 1, CPU, True), (6, 1, 2, "cuda", True)],
)
def test_narrow_strided_shortcuts_keep_the_layout(
    inputs: int, kernel: int, stride: int, device: str, is_last: bool
) -> None:
    found = layout_of(convolutions(inputs, kernel, stride), torch.device(device))
    assert found == (torch.channels_last if is_last else torch.contiguous_format)

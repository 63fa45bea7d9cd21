"""Attacks against closed forms, and against the promises that make epsilon mean something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphprune.errors import ModelError
from graphprune.evaluation.attacks import Attack, Network, fgsm, perturb, pgd
from graphprune.evaluation.pixels import PixelSpace

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

MEAN, STD = np.array([0.4, 0.5, 0.3]), np.array([0.2, 0.25, 0.5])
SPACE = PixelSpace(MEAN.reshape(3, 1, 1), STD.reshape(3, 1, 1))
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.random((16, 3, 5, 5))
PIXELS[:, :, 0] = 0.0  # at the border of the range
PIXELS[:, :, 1] = 1.0
INPUTS = SPACE.to_inputs(PIXELS, np.dtype(np.float32))
LABELS = RANDOM.integers(0, 2, 16)
WEIGHT = torch.tensor(RANDOM.standard_normal((75, 2)), dtype=torch.float32)


def linear(x: Any) -> Any:
    return x.flatten(1) @ WEIGHT


def curved(x: Any) -> Any:
    return torch.stack([torch.sin(3 * x.flatten(1)).sum(1), torch.cos(2 * x.flatten(1)).sum(1)], 1)


def attacked(attack: Attack, network: Network = linear, seed: int = 0) -> np.ndarray:
    return SPACE.to_pixels(perturb(network, INPUTS, LABELS, attack, SPACE, seed=seed).inputs)


def test_fgsm_on_a_linear_model_is_the_closed_form() -> None:
    # The loss rises along (w_other - w_label) whatever the point: its sign is the whole answer.
    rise = np.stack([(WEIGHT[:, 1 - label] - WEIGHT[:, label]).numpy() for label in LABELS]).reshape(PIXELS.shape)
    expected = np.clip(PIXELS + 0.03 * np.sign(rise), 0, 1)
    assert np.abs(attacked(fgsm(0.03)) - expected).max() < 1e-6


def test_fgsm_on_a_curved_model_follows_the_slope_by_finite_differences() -> None:
    target = torch.tensor(LABELS)

    def loss(pixels: np.ndarray) -> np.ndarray:
        scores = curved(torch.tensor((pixels - SPACE.mean) / SPACE.std))
        return np.asarray(torch.nn.functional.cross_entropy(scores, target, reduction="none"))

    moved = attacked(fgsm(0.02), curved) - PIXELS
    for place in ((0, 2, 3), (1, 3, 1), (2, 4, 4)):
        step = np.zeros(PIXELS.shape)
        step[(slice(None), *place)] = 1e-6
        slope = (loss(PIXELS + step) - loss(PIXELS - step)) / 2e-6
        sure = np.abs(slope) > 1e-3
        assert sure.sum() > 8
        inside = np.clip(PIXELS + 0.02 * np.sign(slope)[:, None, None, None], 0, 1) - PIXELS
        assert np.abs(moved - inside)[(sure, *place)].max() < 1e-5


def test_one_step_of_pgd_from_the_image_is_fgsm() -> None:
    for network in (linear, curved):
        one = pgd(0.03, steps=1, random_start=False)
        assert one.step_size > one.epsilon  # so that only the projection makes them equal
        assert np.abs(attacked(one, network) - attacked(fgsm(0.03), network)).max() < 1e-6


@pytest.mark.parametrize("attack", [fgsm(8 / 255), pgd(8 / 255), pgd(2 / 255, 7), pgd(0.5, 3)])
def test_no_pixel_moves_further_than_epsilon_or_out_of_range(attack: Attack) -> None:
    raw = perturb(curved, INPUTS, LABELS, attack, SPACE).inputs * SPACE.std + SPACE.mean
    assert np.abs(raw - PIXELS).max() <= attack.epsilon + 1e-6
    assert raw.min() >= -1e-6
    assert raw.max() <= 1 + 1e-6
    assert np.abs(raw - PIXELS).max() > 0.9 * attack.epsilon


def test_more_steps_raise_the_loss_of_a_curved_model() -> None:
    def loss(pixels: np.ndarray) -> float:
        scores = curved(torch.tensor((pixels - SPACE.mean) / SPACE.std))
        return float(torch.nn.functional.cross_entropy(scores, torch.tensor(LABELS)))

    clean, single, many = (loss(p) for p in (PIXELS, attacked(fgsm(0.3), curved), attacked(pgd(0.3, 20), curved)))
    assert clean < many
    assert single < many


def test_random_start_depends_on_seed_and_sample_not_on_the_batch() -> None:
    whole = attacked(pgd(0.05, 2), curved)
    rest = perturb(curved, INPUTS[5:], LABELS[5:], pgd(0.05, 2), SPACE, first=5)
    assert np.abs(SPACE.to_pixels(rest.inputs) - whole[5:]).max() < 1e-6
    assert np.abs(attacked(pgd(0.05, 2), curved, seed=1) - whole).max() > 1e-3


def test_softmax_at_the_end_changes_nothing() -> None:
    def ending(x: Any) -> Any:
        return torch.softmax(curved(x) / 10, 1)

    moved = perturb(ending, INPUTS, LABELS, pgd(0.03, 5), SPACE, ends_in_softmax=True)
    assert np.abs(SPACE.to_pixels(moved.inputs) - attacked(pgd(0.03, 5), lambda x: curved(x) / 10)).mean() < 1e-4


def test_a_very_sure_network_is_attacked_all_the_same() -> None:
    # Cross-entropy in float32 is flat here: leads of thousands.
    sure = attacked(fgsm(0.03), lambda x: 1e4 * linear(x))
    assert np.array_equal(sure, attacked(fgsm(0.03), linear))


def test_a_network_without_gradient_is_counted_or_refused() -> None:
    def saturated(x: Any) -> Any:
        return linear(x) * 0

    assert perturb(saturated, INPUTS, LABELS, fgsm(0.03), SPACE).blind == 16
    assert perturb(linear, INPUTS, LABELS, fgsm(0.03), SPACE).blind == 0
    with pytest.raises(ModelError, match="no gradient"):
        perturb(lambda x: linear(x.detach()), INPUTS, LABELS, fgsm(0.03), SPACE)

"""White-box attacks within a box of epsilon around each image, by the gradients of the attacked network itself.

FGSM: Goodfellow et al., Explaining and Harnessing Adversarial Examples, ICLR 2015. PGD: Madry et al.,
Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018.
Both maximise the cross-entropy of the given classes; epsilon and steps are in pixels of [0, 1],
and attacked pixels stay in [0, 1].
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphprune.base import extras
from graphprune.errors import ModelError
from graphprune.evaluation.pixels import PixelSpace

_OVERSHOOT = 2.5  # PGD's steps could cross the box this many times over: Madry et al.'s choice, near enough

Network = Callable[[Any], Any]
"""A torch tensor of inputs [n, C, H, W] -> class scores [n, classes]; a ``torch.nn.Module`` in eval mode is one."""


@dataclass(frozen=True)
class Attack:
    """``steps`` ascents of ``step_size`` each within ``epsilon`` (pixels of [0, 1], maximum norm)."""

    name: str
    epsilon: float
    steps: int
    step_size: float
    random_start: bool


def fgsm(epsilon: float) -> Attack:
    """One step of the whole epsilon, from the image."""
    return Attack("fgsm", epsilon, steps=1, step_size=epsilon, random_start=False)


def pgd(epsilon: float, steps: int = 10, step_size: float | None = None, random_start: bool = True) -> Attack:
    """``steps`` steps of 2.5 epsilon / steps unless said otherwise, from a random point of the box."""
    return Attack("pgd", epsilon, steps, step_size or _OVERSHOOT * epsilon / steps, random_start)


@dataclass(frozen=True)
class Attacked:
    """``inputs`` [n, C, H, W] for the network; ``blind`` counts images whose gradient was exactly 0 at the start.

    A network that gives no gradient looks robust and is not (Athalye et al., ICML 2018), so the report says how many.
    """

    inputs: np.ndarray
    blind: int


def perturb(
    network: Network,
    inputs: np.ndarray,
    classes: np.ndarray,
    attack: Attack,
    space: PixelSpace,
    *,
    ends_in_softmax: bool = False,
    seed: int = 0,
    first: int = 0,
) -> Attacked:
    """Attack ``inputs`` [n, C, H, W] away from ``classes`` (n,) int64.

    Random starts depend on ``seed`` and on the sample's number (``first`` + row), not on the batch it is in.

    Raises
    ------
    ModelError
        The network has no gradient from its scores to its input.
    RuntimeMissing
        torch is not installed.
    """
    torch = extras.torch()
    mean, std = (torch.tensor(np.asarray(part, np.float32)) for part in (space.mean, space.std))
    clean = torch.tensor(space.to_pixels(inputs).astype(np.float32))
    low, high = (clean - attack.epsilon).clamp(0, 1), (clean + attack.epsilon).clamp(0, 1)
    target = torch.tensor(classes)
    pixels = clean
    if attack.random_start:
        start = torch.tensor(_starts(inputs.shape, attack.epsilon, seed, first))
        pixels = torch.minimum(torch.maximum(clean + start, low), high)
    blind = 0
    for step in range(attack.steps):
        pixels = pixels.detach().requires_grad_(True)
        scores = network((pixels - mean) / std)
        logits = scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if ends_in_softmax else scores
        try:
            (slope,) = torch.autograd.grad(_odds_against(logits, target).sum(), pixels)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(
                f"the model has no gradient from its first output to its input ({reason})", "leave out --attack"
            ) from None
        if step == 0:
            blind = int((slope == 0).flatten(1).all(1).sum())
        with torch.no_grad():
            pixels = torch.minimum(torch.maximum(pixels + attack.step_size * slope.sign(), low), high)
    moved: np.ndarray = ((pixels - mean) / std).detach().numpy().astype(inputs.dtype)
    return Attacked(moved, blind)


def _odds_against(logits: Any, target: Any) -> Any:
    """Log-odds against the target class, (n,). The cross-entropy is its softplus, so both rise in the same direction.

    But softmax minus one loses the target's part in float32 as soon as a network is sure (a lead of 17),
    and all of it at 100; this does not, so sure networks do not look robust by rounding.
    """
    own = logits.gather(1, target[:, None])
    others = logits.scatter(1, target[:, None], float("-inf"))
    return others.logsumexp(1) - own[:, 0]


def _starts(shape: tuple[int, ...], epsilon: float, seed: int, first: int) -> np.ndarray:
    """Uniform noise of up to ``epsilon``, each sample from its own generator."""
    key = zlib.crc32(b"random start")
    rows = [
        np.random.default_rng([seed, key, first + row]).uniform(-epsilon, epsilon, shape[1:]) for row in range(shape[0])
    ]
    return np.asarray(rows, np.float32)

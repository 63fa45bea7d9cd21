"""Recipe for two networks that tell activities from wearable sensors: a CNN and a transformer, exported to ONNX.

    pip install -e '.[torch]'
    python models/sensor_networks.py windows.npz cnn -o cnn.onnx    # X (n, 1, time, sensors), y (n,) or (n, classes)

``tools/figures/sensors.py`` trains, prunes and tests them by the protocols of the paper (arXiv 1806.05226).

The CNN is Chen and Xue's (three convolutions along time, 18, 36 and 24 maps) with the same padding, for without it
windows of a second are too short; the transformer has the ten layers of "Pruning Everything, Everywhere, All at Once"
(IJCNN 2025), of which heads and width are made small enough for two cores (there 128 heads of 64).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS, WIDTH, HEADS = 10, 32, 4
BATCH, LEARNING_RATE = 64, 1e-3


class ActivityCNN(nn.Module):
    """Windows (n, 1, time, sensors) -> logits (n, classes)."""

    def __init__(self, steps: int, sensors: int, classes: int) -> None:
        super().__init__()
        maps, kernels = (1, 18, 36, 24), ((12, 2), (13, 1), (12, 1))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, padding="same")
            for before, after, kernel in zip(maps, maps[1:], kernels, strict=False)
        )
        self.classifier = nn.Linear(maps[-1] * (steps // 8) * sensors, classes)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = functional.max_pool2d(functional.relu(convolution(x)), (2, 1))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


class EncoderLayer(nn.Module):
    """Attention and an MLP, each on a normalised copy of the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.output = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        stream = self.before_attention(x)
        query, key, value = (
            layer(stream).reshape(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        shares = torch.softmax(query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5, -1)
        x = x + self.output((shares @ value).transpose(1, 2).reshape(*x.shape[:2], WIDTH))
        return x + self.mlp(self.before_mlp(x))


class ActivityTransformer(nn.Module):
    """Windows (n, 1, time, sensors) -> logits (n, classes); a step of time is a token."""

    def __init__(self, steps: int, sensors: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(sensors, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(steps, WIDTH))
        self.layers = nn.Sequential(*(EncoderLayer() for _ in range(LAYERS)))
        self.norm, self.classifier = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embedding(x.squeeze(1)) + self.position
        logits: Tensor = self.classifier(self.norm(self.layers(tokens)).mean(1))
        return logits


KINDS: dict[str, type[ActivityCNN | ActivityTransformer]] = {"cnn": ActivityCNN, "transformer": ActivityTransformer}


def train(kind: str, x: np.ndarray, labels: np.ndarray, classes: int, epochs: int, seed: int) -> nn.Module:
    """A network trained on windows (n, 1, time, sensors), standardised by sensor, and labels (n,).

    The standardisation is the network's first layer: what is exported takes the windows as they are.
    """
    torch.manual_seed(seed)
    inputs, targets = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
    network = nn.Sequential(Standardised(inputs), KINDS[kind](x.shape[2], x.shape[3], classes))
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, epochs * -(-len(x) // BATCH))
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs[rows]), targets[rows]).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


class Standardised(nn.Module):
    """Sensors less their mean over their standard deviation in the training windows."""

    mean: Tensor
    scale: Tensor

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", x.mean((0, 1, 2)))
        self.register_buffer("scale", 1 / x.std((0, 1, 2)).clamp(min=1e-6))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


def export(network: nn.Module, example: np.ndarray, path: Path) -> None:
    """Write ONNX with input ``windows`` (n, 1, time, sensors) and output ``logits`` (n, classes)."""
    torch.onnx.export(
        network,
        (torch.from_numpy(example[:2].astype(np.float32)),),
        path,
        input_names=["windows"],
        output_names=["logits"],
        dynamic_shapes={"input": {0: torch.export.Dim("n")}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windows", type=Path, help=".npz with X (n, 1, time, sensors) and y")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with np.load(arguments.windows, allow_pickle=False) as held:
        x, y = held["X"], held["y"]
    labels = y.argmax(1) if y.ndim > 1 else y
    network = train(arguments.kind, x, labels, int(labels.max()) + 1, arguments.epochs, arguments.seed)
    export(network, x, arguments.output)


if __name__ == "__main__":
    main()

"""Extract the features by which sets of radiographs are compared (KID, FID)."""

from __future__ import annotations

import os
import re

import torch
from monai.networks.nets import DenseNet121
from torch import Tensor, nn
from torch.nn import functional

from conventions import InputError
from storage import read_tensors

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the colours that torchvision's networks were trained on."""

XRAYVISION_RANGE = 1024.0
"""Largest absolute value of the radiographs that torchxrayvision's networks read."""

PRETRAINED_SIDE = 224
"""Side in pixels to which radiographs are resized for both."""

_LAYER = re.compile(r"^(.*denselayer\d+)\.(norm|conv)\.?([12]\..*)$")
"""Names of the weights of a dense layer in torchvision, also in the older form of the files it offers (norm.1)."""

_COUNTER = "num_batches_tracked"
"""Ending of entries of batch norms that are not read, and missing in old files."""

_CLASSIFIER = "classifier."
"""Beginning of the entries of the last layer, which is not needed."""


class RandomFeatures(nn.Module):
    """Mean responses of random convolutions: texture and tone at three scales, the same on every machine.

    Random features need no download and no medical data. Figures are only comparable for the same seed and the same
    size of image.

    Args:
        seed: seed of the weights.
        channels: channels of each of the three layers, which halve the image; there are three times as many features.
    """

    def __init__(self, seed: int = 0, channels: int = 32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.layers = nn.ModuleList()
        inputs = 1
        for _ in range(3):
            layer = nn.Conv2d(inputs, channels, 5, stride=2, padding=2, padding_mode="reflect")
            for parameter in layer.parameters():
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.data = drawn * (2 / (25 * inputs)) ** 0.5
            self.layers.append(layer.requires_grad_(False))
            inputs = channels
        self.description = f"{3 * channels} random features, seed {seed}"

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, rows, columns) in [0, 1] -> (N, features)."""
        means, maps = [], images
        for layer in self.layers:
            maps = functional.relu(layer(maps))
            means.append(maps.mean((2, 3)))
        return torch.cat(means, 1)


class PretrainedFeatures(nn.Module):
    """The 1024 features of a DenseNet-121 trained on ImageNet (torchvision) or on radiographs (torchxrayvision).

    The number of colours that the first layer reads tells the two apart. Images are resized to 224 pixels and scaled to
    the values that each was trained on.

    Args:
        path: file with a bare state dict, for example torchvision's densenet121-a639ec97.pth, or what
            `torch.save(torchxrayvision.models.DenseNet(weights=...).state_dict(), path)` writes.

    Raises:
        InputError: where the file is missing or holds something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        refusal = "holds no weights of a DenseNet-121{0}; give a bare state dict of torchvision's or torchxrayvision's"
        state = read_tensors(path, refusal.format(" ({reason})"))
        try:
            found = {_renamed(key): value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
            self.colours = found["features.conv0.weight"].shape[1]
            self.features = DenseNet121(spatial_dims=2, in_channels=self.colours, out_channels=1).features
            own = self.features.state_dict()
            wanted = {key: found[f"features.{key}"] for key in own if not key.endswith(_COUNTER)}
            self.features.load_state_dict(own | wanted)
        except (RuntimeError, AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: {refusal.format('')}") from error
        self.eval().requires_grad_(False)
        trained = "ImageNet" if self.colours == 3 else "radiographs"
        self.description = f"1024 features of a DenseNet-121 trained on {trained}"

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, rows, columns) in [0, 1] -> (N, 1024)."""
        side = (PRETRAINED_SIDE, PRETRAINED_SIDE)
        images = functional.interpolate(images, side, mode="bilinear", antialias=True)
        if self.colours == 3:
            mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
            images = (images - mean) / std
        else:
            images = (2 * images - 1) * XRAYVISION_RANGE
        return functional.relu(self.features(images)).mean((2, 3))


def _renamed(key: str) -> str:
    """Translate torchvision's name of a weight of the DenseNet to MONAI's."""
    return _LAYER.sub(r"\1.layers.\2\3", key)


def embedding(path: str | os.PathLike[str] | None = None, seed: int = 0) -> nn.Module:
    """Return the features by which sets of radiographs are compared.

    Args:
        path: file of a trained DenseNet-121, as in `PretrainedFeatures`; None is `RandomFeatures`.
        seed: seed of the random features.

    Returns:
        A module (N, 1, rows, columns) in [0, 1] -> (N, features), with a `description`.
    """
    return RandomFeatures(seed) if path in (None, "") else PretrainedFeatures(str(path))

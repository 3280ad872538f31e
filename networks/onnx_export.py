"""Write a generator as an ONNX file, which is only kept if ONNX Runtime runs it like PyTorch."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.utils import optional_import
from torch import Tensor, nn

from conventions import InputError, Keys
from storage import set_aside, write_atomically

onnx, has_onnx = optional_import("onnx")
onnxruntime, has_onnxruntime = optional_import("onnxruntime")

OPSET = 18
"""Version of the ONNX operators; ONNX Runtime supports it from 1.14 on."""

BATCHES = (1, 2)
"""Batch sizes with which the file is tested; its batch axis is free."""

TOLERANCE = 1e-4
"""Largest difference from PyTorch in unit values, relative to the largest value if that is above 1."""


def write_onnx(
    network: nn.Module, path: str | os.PathLike[str], image_shape: Sequence[int], metadata: Mapping[str, Any]
) -> tuple[float, float]:
    """Write a generator as ONNX: input `image` (batch, views, S, S), output `pred` (batch, 1, D, H, W).

    Args:
        network: the generator, on the CPU; put into evaluation mode.
        path: file to write; a file of an earlier run is renamed, not overwritten.
        image_shape: (views, S, S) of its input.
        metadata: entries written into the file, those that are not text as JSON.

    Returns:
        Largest difference between PyTorch and ONNX Runtime on random images, and the largest absolute value of those
        volumes.

    Raises:
        InputError: where ONNX is not installed, or ONNX Runtime does not run the file like PyTorch; nothing is written.
    """
    if not has_onnx or not has_onnxruntime:
        raise InputError(
            "ONNX needs the packages onnx and onnxruntime: run `make env`, or pip install onnx onnxruntime"
        )
    network.eval()
    measured = (0.0, 0.0)

    def write(part: Path) -> None:
        nonlocal measured
        _convert(network, part, image_shape, metadata)
        try:
            measured = _compare(network, part, image_shape)
        except InputError as error:
            raise InputError(f"{path}: not written: {error}") from error
        set_aside(path)  # only now that there is a file to replace it

    with torch.no_grad():
        write_atomically(path, write)
    return measured


class NormAxisByAxis(nn.Module):
    """3-D instance norm that averages along one axis after another.

    On a CPU, ONNX Runtime sums the voxels of an instance norm one by one, with an error of 2e-4 at 128^3; here it is
    1e-6, in no more time.

    Args:
        eps: constant added to the variance.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, D, H, W) -> the same shape."""
        centred = feature - _mean(feature)
        return centred * torch.rsqrt(_mean(centred.square()) + self.eps)


def _mean(feature: Tensor) -> Tensor:
    return feature.mean(4, keepdim=True).mean(3, keepdim=True).mean(2, keepdim=True)


def _with_exact_norms(network: nn.Module) -> nn.Module:
    """Copy a network with `NormAxisByAxis` as 3-D instance norms; none of ours has weights or running statistics."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm3d):
                setattr(module, name, NormAxisByAxis(child.eps))
    return network


def _convert(network: nn.Module, part: Path, image_shape: Sequence[int], metadata: Mapping[str, Any]) -> None:
    image, pred = Keys.IMAGE.value, Keys.PRED.value
    example = torch.rand(1, *image_shape)
    with warnings.catch_warnings():
        # Warnings on the age of this exporter, and on instance norms in evaluation, which have no other statistics.
        warnings.simplefilter("ignore")
        # Tracing is used on purpose: the exporter by torch.export needs onnxscript and onnx-ir, takes eight times as
        # long for the paper's network (2 minutes at 64^3), and its file is neither more accurate nor faster.
        torch.onnx.export(
            _with_exact_norms(network),
            (example,),
            part,
            input_names=[image],
            output_names=[pred],
            dynamic_axes={image: {0: "batch"}, pred: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(part)
    axes = model.graph.output[0].type.tensor_type.shape.dim
    for axis, size in zip(axes[1:], network(example).shape[1:], strict=True):  # tracing leaves some of them unknown
        axis.dim_value = size
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, part)


def _compare(network: nn.Module, part: Path, image_shape: Sequence[int]) -> tuple[float, float]:
    """Run the file and PyTorch on random images, and refuse a file whose results differ."""
    measured = []
    images = [torch.rand(batch, *image_shape, generator=torch.Generator().manual_seed(batch)) for batch in BATCHES]
    for image, found in zip(images, _run(part, images), strict=True):
        expected = network(image)
        difference, highest = (found - expected).abs().max().item(), expected.abs().max().item()
        close = difference <= TOLERANCE * max(1.0, highest)
        # A network that magnifies rounding, as untrained ones do, cannot agree better than with itself.
        if not close and not difference <= _effect_of_16_bit(network, image, expected):
            raise InputError(
                f"ONNX Runtime differs from PyTorch by {difference:.2g} at batch {len(image)}; install the versions of "
                "constraints.txt, or use TorchScript (python -m monai.bundle ckpt_export)"
            )
        measured.append((difference, highest))
    differences, heights = zip(*measured, strict=True)
    return max(differences), max(heights)


def _effect_of_16_bit(network: nn.Module, image: Tensor, expected: Tensor) -> float:
    """Return the largest change of the volume if the radiographs are stored with 16 bits, as in files."""
    stored = (image * 65535).round() / 65535
    return (network(stored) - expected).abs().max().item()


def _run(part: Path, images: Sequence[Tensor]) -> list[Tensor]:
    """Run ONNX Runtime on each batch."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    try:
        session = onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(session.run(None, {Keys.IMAGE.value: image.numpy()})[0]) for image in images]
    except Exception as error:  # its errors have no narrower base class
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run it ({reason}); install the versions of constraints.txt"
        ) from error

"""Write a generator as an ONNX file, which is only kept if ONNX Runtime runs it like PyTorch, and read one."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.utils import optional_import
from torch import Tensor, nn

from conventions import InputError, Keys

from .export_check import write_checked

onnx, has_onnx = optional_import("onnx")
onnxruntime, has_onnxruntime = optional_import("onnxruntime")

OPSET = 18
"""Version of the ONNX operators; ONNX Runtime supports it from 1.14 on."""

MISSING = "ONNX needs the packages onnx and onnxruntime: run `make env`, or pip install onnx onnxruntime"
"""Message where a package is missing."""


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
        raise InputError(MISSING)
    convert = partial(_convert, network, image_shape=image_shape, metadata=metadata)
    return write_checked(network, path, image_shape, convert, read_onnx, "ONNX Runtime")


class NormAxisByAxis(nn.Module):
    """Instance norm that averages along one axis after another.

    On a CPU, ONNX Runtime sums the pixels or voxels of an instance norm one by one, with an error of 2e-4 at 128^3 and
    of 3e-6 at 96^2, which the layers after it magnify; here it is 1e-6 and less, in no more time.

    Args:
        eps: constant added to the variance.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, rows, columns) or (B, C, D, H, W) -> the same shape."""
        centred = feature - _mean(feature)
        return centred * torch.rsqrt(_mean(centred.square()) + self.eps)


def _mean(feature: Tensor) -> Tensor:
    for axis in range(feature.ndim - 1, 1, -1):
        feature = feature.mean(axis, keepdim=True)
    return feature


def _with_exact_norms(network: nn.Module) -> nn.Module:
    """Copy a network with `NormAxisByAxis` as instance norms; none of ours has weights or running statistics."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.InstanceNorm2d, nn.InstanceNorm3d)):
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


def read_onnx(path: str | os.PathLike[str]) -> tuple[Callable[[Tensor], Tensor], dict[str, str]]:
    """Open an ONNX file of a generator with ONNX Runtime, on the CPU and with as many threads as PyTorch.

    Args:
        path: file that `write_onnx` wrote.

    Returns:
        What runs it, `image` (B, views, S, S) -> `pred` (B, 1, D, H, W), and the entries written into it.

    Raises:
        InputError: where ONNX Runtime is not installed or cannot read the file. What runs it raises it too.
    """
    if not has_onnxruntime:
        raise InputError(MISSING)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    options.intra_op_num_threads = torch.get_num_threads()
    advice = f"ONNX Runtime {onnxruntime.__version__} cannot run it ({{}}); install the versions of constraints.txt"
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no narrower base class
        raise InputError(advice.format(_first_line(error))) from error

    def run(image: Tensor) -> Tensor:
        try:
            return torch.from_numpy(session.run(None, {Keys.IMAGE.value: image.numpy()})[0])
        except Exception as error:
            raise InputError(advice.format(_first_line(error))) from error

    return run, dict(session.get_modelmeta().custom_metadata_map)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

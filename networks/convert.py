"""Convert checkpoints of the authors of X2CT-GAN and CycleGAN to ours and back, by a table of layer names.

Entries without an effect are dropped: running statistics of instance norms, which nothing reads (X2CT-GAN was tested
with the statistics of the image itself, CycleGAN kept them only in summer 2018), and the unused weights of Connection-B
in the ablations without it. Everything else must fit exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from conventions import InputError, View
from drr import Acquisition, VolumeGrid

from .blocks import ViewDecoderLevelWithoutB
from .cnn2d import CNN2D
from .patchgan import MultiScaleDiscriminator, PatchDiscriminator, PatchDiscriminator2D, PatchDiscriminator3D
from .pix2pix import PixelDiscriminator, UnetGenerator
from .resnet import ResnetGenerator
from .x2ct import SingleViewGenerator, ViewBranch, VolumeGenerator, X2CTGenerator

PAPER = Acquisition()
"""Acquisition of the authors of X2CT-GAN at 128^3."""

DEAD_BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")
"""Endings of the entries that hold running statistics."""

COUNTER = ".num_batches_tracked"
"""Ending of the entries that count the batches of a norm."""

_WITH_FEATURES = re.compile(r"(?:model|scale(\d+)_layer)(\d+)\.(\d+)\.(\w+)")

PARALLEL_PREFIX = "module."
"""Prefix that `DataParallel` gives every key."""


def _branch_layers(branch: ViewBranch) -> dict[str, str]:
    """Name the encoder, Connection-A and Connections B, which the single-view and the biplanar network share."""
    layers = {"encoder_layer.1": "encoder.stem.0", "base_link.0": "connection_a.linear"}
    for i, stage in enumerate(branch.encoder.stages):
        theirs, ours = f"encoder_layer{i}", f"encoder.stages.{i}"
        layers |= {f"{theirs}.2": f"{ours}.down.2", f"{theirs}.6": f"{ours}.transition.2"}
        for j, _ in enumerate(stage.get_submodule("dense").children()):
            layers[f"{theirs}.3.conv_block.{j}.conv1"] = f"{ours}.dense.{j}.reduce.2"
            layers[f"{theirs}.3.conv_block.{j}.conv2"] = f"{ours}.dense.{j}.grow.2"
    # The authors count levels from the finest, we count from the coarsest.
    for i in range(5):
        ours = f"decoder.levels.{4 - i}.connection_b"
        layers[f"linker_layer{i}.0.compress_block.0"] = f"{ours}.compress.conv"
        layers[f"linker_layer{i}.0.conv_block.0"] = f"{ours}.lift.conv"
    return layers


def _view_layers(branch: ViewBranch) -> dict[str, str]:
    """Name the layers of a view of the biplanar network, where the first convolution of each level is a block."""
    layers = _branch_layers(branch) | _upsampling_layers("decoder.levels.{}.upsample")
    for i in range(5):
        layers[f"decoder_compress_layer{i - 1}.0"] = f"decoder.levels.{4 - i}.merge.conv"
    return layers | {"decoder_layer-1.0": "decoder.tail.0.conv", "decoder_layer.0": "decoder.tail.1"}


def _upsampling_layers(ours: str) -> dict[str, str]:
    layers = {"decoder_layer4.0.block.block.0": f"{ours.format(0)}.conv"}
    for i in range(4):
        theirs, level = f"decoder_layer{i}", ours.format(4 - i)
        layers |= {
            f"{theirs}.0": f"{level}.0.conv",
            f"{theirs}.3": f"{level}.1.conv",
            f"{theirs}.6.block.block.0": f"{level}.2.conv",
        }
    return layers


def _biplanar_layers(network: X2CTGenerator) -> dict[str, str]:
    layers = _upsampling_layers("main.levels.{}") | {
        "decoder_layer-1.0": "main.tail.0.conv",
        "decoder_layer-1.3": "main.tail.1.conv",
        "decoder_layer.0": "main.tail.2",
    }
    for theirs, ours, branch in (("view1Model", "pa", network.pa), ("view2Model", "lateral", network.lateral)):
        layers |= {f"{theirs}.{a}": f"{ours}.{b}" for a, b in _view_layers(branch).items()}
    return layers


def _single_view_layers(network: SingleViewGenerator) -> dict[str, str]:
    """Name the layers of the single-view network, where the convolutions of a level share one block."""
    layers = _branch_layers(network.pa) | {
        "decoder_layer4.0.block.block.0": "decoder.levels.0.upsample.conv",
        "decoder_layer-1.0": "decoder.levels.4.merge.conv",
        "decoder_layer-1.3": "decoder.tail.0.conv",
        "decoder_layer.0": "decoder.tail.1",
    }
    for i in range(4):
        theirs, after = f"decoder_layer{i}", f"decoder.levels.{4 - i}.upsample"
        layers |= {
            f"{theirs}.0": f"decoder.levels.{3 - i}.merge.conv",
            f"{theirs}.3": f"{after}.0.conv",
            f"{theirs}.6": f"{after}.1.conv",
            f"{theirs}.9.block.block.0": f"{after}.2.conv",
        }
    return {theirs: f"pa.{ours}" for theirs, ours in layers.items()}


def _cnn2d_layers(network: CNN2D) -> dict[str, str]:
    """Name the layers of the 2DCNN: parts 1 to 4 go down, 5 is the bottom, 6 to 8 go up, 9 makes the slices."""
    parts = [*(f"down.{i}" for i in range(4)), "bottom", *(f"up.{i}" for i in range(3)), "slices"]
    layers = {}
    for name, module in network.named_modules():
        part = next((i for i, p in enumerate(parts) if name.startswith(f"{p}.")), None)
        if part is None or next(module.parameters(recurse=False), None) is None:
            continue
        theirs = f"part{part + 1}{name.removeprefix(parts[part])}".replace(".adn.N", ".bn")
        for i in range(3):
            theirs = theirs.replace(f".path.{i}", f".model.layer{i + 1}")
        layers[theirs] = name
    return layers


def _patchgan_layers(network: PatchDiscriminator) -> dict[str, str]:
    # Convolutions are at 0, 2, 5, 8, ...: an activation follows the first one, a norm and an activation the others.
    layers = {f"model.{max(3 * i - 1, 0)}": f"layers.{i}.conv" for i in range(len(network.layers))}
    return layers | {f"model.{3 * i}": f"layers.{i}.adn.N" for i in range(1, len(network.layers) - 1)}


def _resnet_layers(network: ResnetGenerator) -> dict[str, str]:
    """Name the layers of CycleGAN's generator, one sequence in which paddings and activations are numbered too."""
    blocks = len(network.blocks)
    layers = {"model.1": "stem.conv", "model.2": "stem.norm", f"model.{17 + blocks}": "head"}
    for i in range(2):
        for start, ours in ((4, "down"), (10 + blocks, "up")):
            layers |= {f"model.{start + 3 * i}": f"{ours}.{i}.conv", f"model.{start + 3 * i + 1}": f"{ours}.{i}.norm"}
    for i, block in enumerate(network.blocks.children()):
        second = 6 if isinstance(block.get_submodule("dropout"), nn.Dropout) else 5
        for place, ours in ((1, "first"), (second, "second")):
            theirs = f"model.{10 + i}.conv_block"
            layers |= {
                f"{theirs}.{place}": f"blocks.{i}.{ours}.conv",
                f"{theirs}.{place + 1}": f"blocks.{i}.{ours}.norm",
            }
    return layers


def _multi_scale_layers(network: MultiScaleDiscriminator) -> dict[str, str]:
    """Name the layers of several PatchGANs; the authors give the full size the highest number, we the lowest."""
    layers = {}
    last = len(network.scales) - 1
    for i, scale in enumerate(network.scales):
        assert isinstance(scale, PatchDiscriminator)
        for theirs, ours in _patchgan_layers(scale).items():
            layers[theirs.replace("model", f"layer{last - i}")] = f"scales.{i}.{ours}"
    return layers


def _unet_layers(network: UnetGenerator) -> dict[str, str]:
    """Name the layers of the U-Net, nested blocks: down, the next block, up, with activations and norms between."""
    last = len(network.down) - 1
    layers = {"model.model.0": "down.0", "model.model.3": "up.0"}
    for level in range(1, last + 1):
        block = "model.model.1" + ".model.3" * (level - 1)
        layers |= {f"{block}.model.1": f"down.{level}", f"{block}.model.{3 if level == last else 5}": f"up.{level}"}
    return layers


def _pixelgan_layers(network: PixelDiscriminator) -> dict[str, str]:
    return {"net.0": "first", "net.2": "second", "net.5": "score"}


LAYERS: dict[type[nn.Module], Callable[..., dict[str, str]]] = {
    X2CTGenerator: _biplanar_layers,
    SingleViewGenerator: _single_view_layers,
    CNN2D: _cnn2d_layers,
    PatchDiscriminator3D: _patchgan_layers,
    PatchDiscriminator2D: _patchgan_layers,
    MultiScaleDiscriminator: _multi_scale_layers,
    ResnetGenerator: _resnet_layers,
    UnetGenerator: _unet_layers,
    PixelDiscriminator: _pixelgan_layers,
}
"""Table of layers for each of the authors' networks: their names of the layers -> ours."""


def official_keys(network: nn.Module) -> dict[str, str]:
    """Return the authors' name of each entry of a network.

    Args:
        network: a network that the authors have too.

    Returns:
        Our key of each state-dict entry -> their key.

    Raises:
        InputError: where the authors have no such network.
    """
    if type(network) not in LAYERS:
        known = ", ".join(c.__name__ for c in LAYERS)
        raise InputError(f"the authors have no {type(network).__name__}; checkpoints are converted for {known}")
    theirs = {ours: theirs for theirs, ours in LAYERS[type(network)](network).items()}
    split = (key.rpartition(".") for key in network.state_dict())
    return {f"{layer}.{kind}": f"{theirs[layer]}.{kind}" for layer, _, kind in split}


def from_official(state_dict: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Rename the entries of an authors' state dict to our names.

    Args:
        state_dict: entry `state_dict` of one of their checkpoint files.
        network: our network to load it into, with the image size and the widths of the checkpoint, as `recognise`
            finds them.

    Returns:
        A state dict for `network.load_state_dict`; it shares the given tensors.

    Raises:
        InputError: where an entry is missing, unknown or of another shape.
    """
    keys = official_keys(network)
    given = {k: v for k, v in plain_keys(state_dict).items() if k in keys.values() or not _is_dead(k, network)}
    for theirs in keys.values():
        if theirs.endswith(COUNTER):  # torch 0.4.0, with which the authors trained, did not count
            given.setdefault(theirs, torch.tensor(0))
    name = type(network).__name__
    missing = [key for key in keys.values() if key not in given]
    unknown = sorted(given.keys() - set(keys.values()))
    if missing or unknown:
        found = [f"{len(k)} {what} such as {k[0]}" for k, what in ((missing, "missing"), (unknown, "unknown")) if k]
        raise InputError(f"this is not a checkpoint of the authors' {name}: entries {', '.join(found)}")
    for ours, expected in network.state_dict().items():
        shape = tuple(given[keys[ours]].shape)
        if shape != tuple(expected.shape):
            raise InputError(
                f"entry {keys[ours]} has shape {shape} where this {name} has {tuple(expected.shape)}; "
                "build the network with the image size and widths of the checkpoint"
            )
    return {ours: given[theirs] for ours, theirs in keys.items()}


def to_official(state_dict: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Rename the entries of a state dict of ours to the authors' names.

    The running statistics of their norms, which nothing reads, are left out; their loader keeps its own.

    Args:
        state_dict: state dict of our network.
        network: the network it belongs to.

    Returns:
        Entry `state_dict` of a checkpoint for their code; it shares the given tensors.

    Raises:
        InputError: where the authors have no such network, or entries are missing, unknown or of another shape.
    """
    expected = network.state_dict()
    different = sorted(expected.keys() ^ state_dict.keys()) or [
        key for key, value in expected.items() if value.shape != state_dict[key].shape
    ]
    if different:
        raise InputError(f"this is not a state dict of {type(network).__name__}: entry {different[0]} does not fit")
    return {theirs: state_dict[ours] for ours, theirs in official_keys(network).items()}


def plain_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the authors' keys to one numbering: without `DataParallel`, and discriminators as without features.

    A discriminator that returns its features names the same tensors `model<layer>.0` or `scale<scale>_layer<layer>.0`.
    """

    def plain(key: str) -> str:
        match = _WITH_FEATURES.fullmatch(key)
        if match is None:
            return key
        scale, layer, index, kind = match.groups()
        prefix = "model" if scale is None else f"layer{scale}"
        return f"{prefix}.{max(3 * int(layer) - 1, 0) + int(index)}.{kind}"

    return {plain(key.removeprefix(PARALLEL_PREFIX)): value for key, value in state_dict.items()}


def recognise(state_dict: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """Find which of our networks a state dict of the authors belongs to.

    Two cases look alike. The "NoFuse" network has the same entries as the shipped "Fuse" and is taken for it;
    give its name, `x2ct_biplanar_no_fuse`, yourself. The discriminator of CycleGAN as of summer 2018, with statistics
    of its norms, is taken for that of the X2CT authors; give `patchgan_70`.

    Args:
        state_dict: entry `state_dict` of one of their checkpoint files.

    Returns:
        A name for `build_network`, and its arguments that differ from the defaults.

    Raises:
        InputError: where the entries belong to none of their networks.
    """
    shapes = {key: tuple(value.shape) for key, value in plain_keys(state_dict).items() if hasattr(value, "shape")}
    if "view1Model.base_link.0.weight" in shapes or "base_link.0.weight" in shapes:
        biplanar = "view1Model.base_link.0.weight" in shapes
        merge = "view1Model.decoder_compress_layer3.0.weight" if biplanar else "decoder_layer3.0.weight"
        size = {
            "image_size": image_size_of(shapes["view1Model.base_link.0.weight" if biplanar else "base_link.0.weight"])
        }
        without = [
            letter
            for letter, key in (("b", merge), ("c", "decoder_layer3.0.weight"))
            if (biplanar or letter == "b") and shapes.get(key, (0, 0))[0] == shapes.get(key, (0, 0))[1]
        ]
        base = "x2ct_biplanar" if biplanar else "x2ct_single_view"
        return "_without_".join([base, *["_and_".join(without)] * bool(without)]), size
    if "part1.0.conv.weight" in shapes:
        return "cnn2d", {"image_size": 2 * shapes["part9.1.weight"][0]}
    if "model.model.0.weight" in shapes:
        return _recognise_unet(shapes)
    if "net.5.weight" in shapes:
        return "pixelgan", dict(zip(("channels", "in_channels"), shapes["net.0.weight"], strict=False))
    if "model.1.weight" in shapes and "model.10.conv_block.1.weight" in shapes:
        return _recognise_resnet(shapes)
    if len(shapes.get("model.0.weight", ())) == 4 and not any(_is_statistic(key, shapes) for key in shapes):
        return _recognise_patchgan_70(shapes)
    for key, multiple in (("model.0.weight", False), ("layer0.0.weight", True)):
        if key in shapes and len(shapes[key]) in (4, 5):
            dims = len(shapes[key]) - 2
            channels = {"in_channels": shapes[key][1]}
            return (f"patchgan_{dims}d_multi_scale" if multiple else f"patchgan_{dims}d"), channels
    raise InputError("the entries belong to no network of the authors of X2CT-GAN or CycleGAN")


def recognise_ours(state_dict: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """Find the arguments of a network of ours from its entries, as far as these reveal them.

    Args:
        state_dict: state dict of our network.
        name: its name in `NETWORKS`.

    Returns:
        Arguments for `build_network`.
    """
    shapes = {key: tuple(value.shape) for key, value in state_dict.items()}
    connection_a = [shape for key, shape in shapes.items() if key.endswith("connection_a.linear.weight")]
    if connection_a:
        return {"image_size": image_size_of(connection_a[0])}
    if "slices.1.weight" in shapes:
        return {"image_size": 2 * shapes["slices.1.weight"][0]}
    norm = {} if "stem.conv.bias" in shapes or "layers.1.conv.bias" in shapes else {"norm": "batch"}
    if "stem.conv.weight" in shapes:
        channels, in_channels = shapes["stem.conv.weight"][:2]
        blocks = len({key.split(".")[1] for key in shapes if key.startswith("blocks.")})
        outer = {"in_channels": in_channels, "out_channels": shapes.get("head.weight", (1,))[0]}
        return {**outer, "channels": channels, "blocks": blocks, **norm}
    first = shapes.get("layers.0.conv.weight") or shapes.get("scales.0.layers.0.conv.weight")
    if first is None:
        return {}
    if not is_of_cyclegan(name):
        return {"in_channels": first[1]}
    convolutions = sum(len(shape) == 4 for shape in shapes.values())
    return {"in_channels": first[1], "channels": first[0], "num_layers": convolutions - 2, **norm}


def official_acquisition(network: nn.Module) -> Acquisition | None:
    """Return how the authors of X2CT-GAN made the radiographs that a network reads.

    Their checkpoints do not hold it: it is that of their data, a cube of 320 mm in the voxels of the network.

    Args:
        network: one of their generators, or any other network.

    Returns:
        Their acquisition, with the PA view alone for generators of one view; None for other networks.
    """
    if not isinstance(network, VolumeGenerator):
        return None
    side = network.image_size // 2 if isinstance(network, CNN2D) else network.image_size
    return PAPER.replace(
        grid=VolumeGrid(side, PAPER.grid.size[0] / side),
        view_names=tuple(View)[: network.views],
        detector_shape=(network.image_size, network.image_size),
    )


def is_of_cyclegan(name: str) -> bool:
    """Return whether a name is that of a network of CycleGAN's authors, not of X2CT-GAN's."""
    return name in ("resnet_9blocks", "resnet_6blocks", "patchgan_70", "unet_128", "unet_256", "pixelgan")


def _recognise_resnet(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    """Find out blocks, channels, norm and dropout of CycleGAN's generator."""
    blocks = len({key.split(".")[1] for key in shapes if ".conv_block." in key})
    channels, in_channels = shapes["model.1.weight"][:2]
    found: dict[str, Any] = {"in_channels": in_channels, "channels": channels}
    found["out_channels"] = shapes.get(f"model.{17 + blocks}.weight", (1,))[0]
    if blocks not in (6, 9):
        found["blocks"] = blocks
    if "model.1.bias" not in shapes:
        found["norm"] = "batch"
    if "model.10.conv_block.6.weight" in shapes and len(shapes["model.10.conv_block.6.weight"]) == 4:
        found["dropout"] = 0.5
    return ("resnet_6blocks" if blocks == 6 else "resnet_9blocks"), found


def _recognise_unet(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    """Find out channels and halvings of the U-Net, which has a pair of convolutions for each halving."""
    halvings = sum(len(shape) == 4 for shape in shapes.values()) // 2
    channels, in_channels = shapes["model.model.0.weight"][:2]
    found: dict[str, Any] = {"in_channels": in_channels, "channels": channels}
    found["out_channels"] = shapes["model.model.3.weight"][1]
    return ("unet_256", found) if halvings == 8 else ("unet_128", found | {"halvings": halvings})


def _recognise_patchgan_70(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    """Find the channels, layers and norm of CycleGAN's discriminator.

    It has the entries of the 2-D discriminator of X2CT-GAN, except for the statistics of its norms.
    """
    channels, in_channels = shapes["model.0.weight"][:2]
    convolutions = sum(len(shape) == 4 for shape in shapes.values())
    found: dict[str, Any] = {"in_channels": in_channels, "channels": channels, "num_layers": convolutions - 2}
    if "model.3.weight" in shapes:
        found["norm"] = "batch"
    return "patchgan_70", found


def _is_statistic(key: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether an entry is a statistic of an instance norm, which has no weights."""
    layer, _, kind = key.rpartition(".")
    return f".{kind}" in DEAD_BUFFERS and f"{layer}.weight" not in shapes


def image_size_of(connection_a: tuple[int, ...]) -> int:
    """Compute the side of the radiographs from the rows of Connection-A: 256 channels on a 32nd of the side, cubed."""
    return 32 * round((connection_a[0] / 256) ** (1 / 3))


def _is_dead(key: str, network: nn.Module) -> bool:
    """Return whether an entry has no effect: a statistic of an instance norm, or a superfluous Connection-B."""
    without_b = isinstance(network, (X2CTGenerator, SingleViewGenerator)) and isinstance(
        network.pa.decoder.levels[0], ViewDecoderLevelWithoutB
    )
    return key.endswith(DEAD_BUFFERS) or (without_b and "linker_layer" in key)

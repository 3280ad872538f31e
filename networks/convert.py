"""From checkpoints of X2CT-GAN's and CycleGAN's authors to ours: what each of their layers is called here.

Instance norms kept running statistics that nothing ever reads (X2CT-GAN was tested with statistics of the image itself,
CycleGAN had them in summer 2018 and drops them since), and X2CT-GAN's ablations without Connection-B hold its weights
without using them; those entries are dropped. Everything else must fit exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from conventions import InputError

from .blocks import ViewDecoderLevelWithoutB
from .cnn2d import CNN2D
from .patchgan import MultiScaleDiscriminator, PatchDiscriminator, PatchDiscriminator2D, PatchDiscriminator3D
from .pix2pix import PixelDiscriminator, UnetGenerator
from .resnet import ResnetGenerator
from .x2ct import SingleViewGenerator, ViewBranch, X2CTGenerator

DEAD_BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")
"""Endings of the entries that are dropped."""

COUNTER = ".num_batches_tracked"

_WITH_FEATURES = re.compile(r"(?:model|scale(\d+)_layer)(\d+)\.(\d+)\.(\w+)")

PARALLEL_PREFIX = "module."
"""What `DataParallel` puts before every key."""


def _branch_layers(branch: ViewBranch) -> dict[str, str]:
    """Encoder, Connection-A and Connections B, which single view and biplanar name alike."""
    layers = {"encoder_layer.1": "encoder.stem.0", "base_link.0": "connection_a.linear"}
    for i, stage in enumerate(branch.encoder.stages):
        theirs, ours = f"encoder_layer{i}", f"encoder.stages.{i}"
        layers |= {f"{theirs}.2": f"{ours}.down.2", f"{theirs}.6": f"{ours}.transition.2"}
        for j, _ in enumerate(stage.get_submodule("dense").children()):
            layers[f"{theirs}.3.conv_block.{j}.conv1"] = f"{ours}.dense.{j}.reduce.2"
            layers[f"{theirs}.3.conv_block.{j}.conv2"] = f"{ours}.dense.{j}.grow.2"
    # They count the levels from the finest, ours run from the coarsest.
    for i in range(5):
        ours = f"decoder.levels.{4 - i}.connection_b"
        layers[f"linker_layer{i}.0.compress_block.0"] = f"{ours}.compress.conv"
        layers[f"linker_layer{i}.0.conv_block.0"] = f"{ours}.lift.conv"
    return layers


def _view_layers(branch: ViewBranch) -> dict[str, str]:
    """A view of the biplanar network: the first convolution of each level stands apart."""
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
    """The single view has the first convolution of a level and those after it in one block."""
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
    """Parts 1 to 4 go down, 5 is the bottom, 6 to 8 go up, 9 gives the slices."""
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
    # Convolutions stand at 0, 2, 5, 8, ...: after the first come an activation, after the others a norm too.
    layers = {f"model.{max(3 * i - 1, 0)}": f"layers.{i}.conv" for i in range(len(network.layers))}
    return layers | {f"model.{3 * i}": f"layers.{i}.adn.N" for i in range(1, len(network.layers) - 1)}


def _resnet_layers(network: ResnetGenerator) -> dict[str, str]:
    """CycleGAN's generator is one sequence, of which paddings and activations take numbers too."""
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
    """Their highest number judges the full size, which is our first scale."""
    layers = {}
    last = len(network.scales) - 1
    for i, scale in enumerate(network.scales):
        assert isinstance(scale, PatchDiscriminator)
        for theirs, ours in _patchgan_layers(scale).items():
            layers[theirs.replace("model", f"layer{last - i}")] = f"scales.{i}.{ours}"
    return layers


def _unet_layers(network: UnetGenerator) -> dict[str, str]:
    """Pix2pix's generator is a block in a block: down, the next block, up, with activations and norms between."""
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
"""For each network that has a counterpart among the authors': their layers' names to ours."""


def official_keys(network: nn.Module) -> dict[str, str]:
    """List what each entry of the network is called by the authors.

    Args:
        network: a network that has a counterpart among the authors'.

    Returns:
        Our state-dict key to theirs, for every entry.

    Raises:
        InputError: where the network has no counterpart.
    """
    if type(network) not in LAYERS:
        known = ", ".join(c.__name__ for c in LAYERS)
        raise InputError(f"the authors have no {type(network).__name__}; checkpoints are converted for {known}")
    theirs = {ours: theirs for theirs, ours in LAYERS[type(network)](network).items()}
    split = (key.rpartition(".") for key in network.state_dict())
    return {f"{layer}.{kind}": f"{theirs[layer]}.{kind}" for layer, _, kind in split}


def from_official(state_dict: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Rename the entries of an authors' state dict to ours.

    Args:
        state_dict: the entry `state_dict` of one of their checkpoint files.
        network: our network to load it into, with the checkpoint's image size and widths; `recognise` names it.

    Returns:
        A state dict for `network.load_state_dict`; the tensors are those given, not copies.

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
        raise InputError(f"this is no checkpoint of the authors' counterpart of {name}: entries {', '.join(found)}")
    for ours, expected in network.state_dict().items():
        shape = tuple(given[keys[ours]].shape)
        if shape != tuple(expected.shape):
            raise InputError(
                f"entry {keys[ours]} has shape {shape} where this {name} has {tuple(expected.shape)}; "
                "build the network with the image size and widths of the checkpoint"
            )
    return {ours: given[theirs] for ours, theirs in keys.items()}


def to_official(state_dict: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The way back: rename the entries of our state dict to the authors'.

    Their norms' running statistics, which nothing reads, are not made up; their loader leaves them as they are.

    Args:
        state_dict: of our network.
        network: the network it belongs to.

    Returns:
        The entry `state_dict` of a checkpoint for their code; the tensors are those given.

    Raises:
        InputError: where the network has no counterpart, or entries are missing, unknown or of another shape.
    """
    expected = network.state_dict()
    different = sorted(expected.keys() ^ state_dict.keys()) or [
        key for key, value in expected.items() if value.shape != state_dict[key].shape
    ]
    if different:
        raise InputError(f"this is no state dict of {type(network).__name__}: entry {different[0]} does not fit")
    return {theirs: state_dict[ours] for ours, theirs in official_keys(network).items()}


def plain_keys(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' entries in one numbering: without `DataParallel`, and discriminators without intermediate layers.

    A discriminator that gives its features has the same tensors as `model<layer>.0` or `scale<scale>_layer<layer>.0`.
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
    """Which of our networks an authors' state dict belongs to.

    Their "NoFuse" network has the same entries as the shipped "Fuse": it is taken for the latter, unless one says
    `x2ct_biplanar_no_fuse`. CycleGAN's discriminator as of summer 2018, with statistics of its norms, is taken for the
    X2CT authors', unless one says `patchgan_70`.

    Args:
        state_dict: the entry `state_dict` of one of their checkpoint files.

    Returns:
        A name for `build_network`, and its arguments that differ from the defaults.

    Raises:
        InputError: where the entries are those of no network of theirs.
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
    raise InputError("the entries are those of no network of the X2CT authors, nor of CycleGAN")


def of_cyclegan(name: str) -> bool:
    """Whether a network, by its name, is one of CycleGAN's and not of X2CT-GAN's."""
    return name in ("resnet_9blocks", "resnet_6blocks", "patchgan_70", "unet_128", "unet_256", "pixelgan")


def _recognise_resnet(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    """CycleGAN's generator: blocks, channels, norm and dropout from the entries."""
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
    """Pix2pix's generator: as many halvings as there are pairs of convolutions."""
    halvings = sum(len(shape) == 4 for shape in shapes.values()) // 2
    channels, in_channels = shapes["model.model.0.weight"][:2]
    found: dict[str, Any] = {"in_channels": in_channels, "channels": channels}
    found["out_channels"] = shapes["model.model.3.weight"][1]
    return ("unet_256", found) if halvings == 8 else ("unet_128", found | {"halvings": halvings})


def _recognise_patchgan_70(shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]]:
    """CycleGAN's discriminator has the entries of the X2CT authors' in 2-D, but for the statistics of its norms."""
    channels, in_channels = shapes["model.0.weight"][:2]
    convolutions = sum(len(shape) == 4 for shape in shapes.values())
    found: dict[str, Any] = {"in_channels": in_channels, "channels": channels, "num_layers": convolutions - 2}
    if "model.3.weight" in shapes:
        found["norm"] = "batch"
    return "patchgan_70", found


def _is_statistic(key: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether an entry is a statistic of an instance norm, which has no weights."""
    layer, _, kind = key.rpartition(".")
    return f".{kind}" in DEAD_BUFFERS and f"{layer}.weight" not in shapes


def image_size_of(connection_a: tuple[int, ...]) -> int:
    """Side of the radiographs from the rows of Connection-A: 256 channels at a 32th of the side, cubed."""
    return 32 * round((connection_a[0] / 256) ** (1 / 3))


def _is_dead(key: str, network: nn.Module) -> bool:
    """Whether an entry has no effect: statistics of instance norms, and Connections B of networks without them."""
    without_b = isinstance(network, (X2CTGenerator, SingleViewGenerator)) and isinstance(
        network.pa.decoder.levels[0], ViewDecoderLevelWithoutB
    )
    return key.endswith(DEAD_BUFFERS) or (without_b and "linker_layer" in key)

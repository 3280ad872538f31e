"""From the authors' checkpoints to ours: what each of their layers is called here.

Their instance norms kept running statistics that nothing ever reads (they tested with statistics of the image
itself), so those entries are dropped. Everything else must fit exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from conventions import InputError

from .patchgan import PatchDiscriminator3D
from .x2ct import ViewBranch, X2CTGenerator

DEAD_BUFFERS = (".running_mean", ".running_var", ".num_batches_tracked")
"""Endings of the entries that are dropped."""

PARALLEL_PREFIX = "module."
"""What `DataParallel` puts before every key."""


def _view_layers(branch: ViewBranch) -> dict[str, str]:
    layers = {
        "encoder_layer.1": "encoder.stem.0",
        "base_link.0": "connection_a.linear",
        "decoder_layer-1.0": "decoder.tail.0.conv",
        "decoder_layer.0": "decoder.tail.1",
    }
    for i, stage in enumerate(branch.encoder.stages):
        theirs, ours = f"encoder_layer{i}", f"encoder.stages.{i}"
        layers |= {f"{theirs}.2": f"{ours}.down.2", f"{theirs}.6": f"{ours}.transition.2"}
        for j, _ in enumerate(stage.get_submodule("dense").children()):
            layers[f"{theirs}.3.conv_block.{j}.conv1"] = f"{ours}.dense.{j}.reduce.2"
            layers[f"{theirs}.3.conv_block.{j}.conv2"] = f"{ours}.dense.{j}.grow.2"
    # They count the levels from the finest, ours run from the coarsest.
    for i in range(5):
        ours = f"decoder.levels.{4 - i}"
        layers |= {
            f"linker_layer{i}.0.compress_block.0": f"{ours}.connection_b.compress.conv",
            f"linker_layer{i}.0.conv_block.0": f"{ours}.connection_b.lift.conv",
            f"decoder_compress_layer{i - 1}.0": f"{ours}.merge.conv",
        }
    return layers | _upsampling_layers("decoder.levels.{}.upsample")


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


def _patchgan_layers(network: PatchDiscriminator3D) -> dict[str, str]:
    # Convolutions stand at 0, 2, 5, 8, ...: after the first come an activation, after the others a norm too.
    return {f"model.{max(3 * i - 1, 0)}": f"layers.{i}.conv" for i in range(len(network.layers))}


LAYERS: dict[type[nn.Module], Callable[..., dict[str, str]]] = {
    X2CTGenerator: _biplanar_layers,
    PatchDiscriminator3D: _patchgan_layers,
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
        state_dict: the entry `state_dict` of one of their checkpoint files: their biplanar generator (shipped
            configuration) or their discriminator "basic3d".
        network: our network to load it into, with the checkpoint's image size and widths.

    Returns:
        A state dict for `network.load_state_dict`; the tensors are those given, not copies.

    Raises:
        InputError: where an entry is missing, unknown or of another shape.
    """
    given = {k.removeprefix(PARALLEL_PREFIX): v for k, v in state_dict.items() if not k.endswith(DEAD_BUFFERS)}
    keys = official_keys(network)
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

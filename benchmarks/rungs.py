"""Rungs of the ladder: the models that `benchmarks.ladder` trains and measures, and what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.engines.utils import PrepareBatchExtraInput

from conventions import Keys
from drr import geometry_tensor, preset


@dataclass(frozen=True)
class Rung:
    """A model of the ladder.

    Args:
        title: what it is.
        overlays: configs on train.json, chest.json and before augmented.json.
        cost: CPU seconds of a step of two volumes, one thread, measured; the number of steps follows from it.
        options: further options of the command.
        after: configs after augmented.json.
        share: share of the budget.
        parallel: whether the network is given parallel rays over the same field in place of the true ones.
        phantoms: procedural phantoms that are trained on as well; the CTs then come as often as they do.
        start: rung from whose weights this one begins, and whose CPU seconds count for it.
    """

    title: str
    overlays: tuple[str, ...]
    cost: float
    options: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    share: float = 1.0
    start: str | None = None
    parallel: bool = False
    phantoms: int = 0


_OURS = {"_requires_": "@repo_path"}
_PARALLEL = {"_target_": "benchmarks.rungs.ParallelRays"}

_STEADY = {"learning_rate": 5e-4, "clip_norm": 5.0}
"""What keeps the X2CT networks from spikes in a run that is longer than the demo's."""


_LAYERS = {"network_def::refinements": 0}
"""RayLift at 128^3 as it was before it refined: the layers of 64^3, whose U-Net then sees half as far."""


def _part(title: str, options: Mapping[str, Any] | None = None, **more: Any) -> Rung:
    """Describe RayLift at 64^3 with one part changed."""
    return Rung(
        f"RayLift, 64^3, {title}", ("raylift",), 0.65, {"image_size": 64, **(options or {})}, share=1 / 3, **more
    )


RUNGS = {
    "replicate_unet": Rung(
        "plain U-Net, views repeated along parallel rays, 64^3",
        ("raylift",),
        1.5,
        {
            "image_size": 64,
            "network_def": {**_OURS, "_target_": "networks.build_network", "name": "replicate_unet", "image_size": 64},
            "loss": {
                **_OURS,
                "_target_": "losses.WeightedLosses",
                "terms": {"reconstruction": {"loss": {"_target_": "torch.nn.L1Loss"}, "weight": 1.0}},
            },
        },
    ),
    "x2ct_cnn": Rung("X2CT-CNN, the demo's widths, 64^3", ("x2ct_cnn", "demo"), 1.8, _STEADY),
    "x2ct_gan": Rung("X2CT-GAN, the demo's widths, 64^3", ("demo",), 2.05, _STEADY),
    "x2ct_gan_seed1": Rung("X2CT-GAN, another seed", ("demo",), 2.05, {**_STEADY, "seed": 1}),
    "raylift_64": Rung("RayLift, 64^3, a third of the budget", ("raylift",), 0.65, {"image_size": 64}, share=1 / 3),
    "raylift": Rung("RayLift, 64^3, then the same layers at 128^3", ("raylift",), 5.0, _LAYERS, start="raylift_64"),
    "raylift_refined": Rung("RayLift, 64^3, then refined to 128^3", ("raylift",), 4.0, start="raylift_64"),
    "raylift_through": Rung(
        "RayLift, 64^3, then refined to 128^3 through the update",
        ("raylift",),
        6.0,
        after=("through_update",),
        start="raylift_64",
    ),
    "raylift_views": Rung(
        "RayLift, 64^3, then the same layers at 128^3 from one to four views",
        ("raylift",),
        6.0,
        _LAYERS,
        after=("more_views",),
        start="raylift_64",
    ),
    "raylift_64_films": Rung(
        "RayLift, 64^3, then 64^3 on random films",
        ("raylift",),
        0.75,
        {"image_size": 64},
        after=("film_randomised",),
        start="raylift_64",
    ),
    "raylift_128": Rung("RayLift, 128^3 from the start", ("raylift",), 4.0),
    "raylift_64_seed1": _part("another seed", {"seed": 1}),
    "raylift_seed1": Rung(
        "RayLift, 64^3, then refined to 128^3, another seed", ("raylift",), 4.0, {"seed": 1}, start="raylift_64_seed1"
    ),
    "raylift_64_centre": _part("CTs laid by the scan's centre", {"anchor": "centre"}),
    "raylift_64_parallel": _part(
        "parallel rays",
        {"train::trainer::prepare_batch": _PARALLEL, "validate::evaluator::prepare_batch": _PARALLEL},
        parallel=True,
    ),
    "raylift_64_thin": _part("4 channels of 2-D features", {"network_def::encoder_channels": "[4, 4, 4, 4, 4]"}),
    "raylift_64_phantoms": _part("60 phantoms as well", phantoms=60),
    "raylift_64_l2": _part("squared error", {"loss::terms::reconstruction::loss": {"_target_": "torch.nn.MSELoss"}}),
}
"""Rungs by name."""


class ParallelRays(PrepareBatchExtraInput):
    """Prepare a batch with the geometry of parallel rays over the field of a chest film, which it is not."""

    def __init__(self) -> None:
        super().__init__({"geometry": Keys.GEOMETRY.value})

    def __call__(self, batchdata: Any, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
        """Prepare it as the trainer does by default, with another geometry."""
        image, label, args, extra = super().__call__(batchdata, device, non_blocking, **kwargs)
        parallel = parallel_geometry(image.shape[-1]).to(image)
        return image, label, args, {**extra, "geometry": parallel.expand(len(image), -1, -1, -1)}


def parallel_geometry(pixels: int) -> torch.Tensor:
    """Return PA and lateral with parallel rays: (1, 2, 4, 3) in mm, LPS."""
    return geometry_tensor(preset("chest", (pixels, pixels), ["parallel_pa", "parallel_lateral"]))

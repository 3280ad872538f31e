"""RayLift: chest CT volumes from one to eight radiographs, whose features are lifted along their true rays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from conventions import MAX_VIEWS, InputError, View
from drr import VolumeGrid, geometry_tensor, preset

from .blocks import recomputed
from .rays import depth_along_beam, detector_frames, project_grid, ray_directions
from .residual_unet import Norm, Pointwise, ResidualBlock, ResidualUNet, enlarged
from .x2ct import VolumeGenerator

PIXEL_CHANNELS = 4
"""Channels of a pixel: its value, and the direction of its ray, a unit vector (x, y, z) in LPS."""

SMALLEST_ERROR = 1e-4
"""Smallest expected error in unit values (0.25 HU); it keeps the likelihood of a Laplace distribution finite."""


class RayLift(VolumeGenerator):
    """A CT volume from one to eight radiographs and their geometry.

    One 2-D U-Net reads each view together with the direction of every pixel's ray. Its features and the radiograph
    itself are reduced to a few channels, which every voxel samples where its ray meets the detector. Mean and maximum
    over the views follow, so that their number is free and their order has no effect; then a 3-D U-Net at a quarter of
    the volume's size, and light heads at half and full size, for which the views are lifted again. Interpolation
    doubles all sizes, which leaves no checkerboard.

    With refinements, all of this has the size S / 2^refinements and reads radiographs averaged to it; light heads then
    double the size as often, and see the sharper radiographs. They change nothing before they are trained: with the
    weights of a network of half the size, whose steps cost a fifth, the volume is at first that network's, enlarged.

    Args:
        image_size: side S of the volume in voxels, and in pixels of radiographs that come without geometry; a multiple
            of the factor by which the U-Nets reduce it (16, twice as much with each refinement), and at least twice
            that.
        views: names of the views of radiographs that come without geometry, in the order in which they are stacked.
        geometry: name of the preset that these views are of.
        voxel_mm: voxel spacing of the volume in mm; its centre is the isocentre.
        encoder_channels: channels of the 2-D U-Net, finest level first, three or more; the first has the size of the
            radiograph.
        unet_channels: channels of the 3-D U-Net, finest level first; the first has the size S/4.
        head_channels: channels of the heads of the sizes S/2 and S; refinements have those of the last.
        lift_channels: channels lifted from each view for the sizes S/4, S/2 and S; for refinements those of the last.
        uncertainty: whether the network has layers that estimate the error of each voxel (`forward_with_error`).
        refinements: number of doublings that follow; the sizes above are then parts of S / 2^refinements.

    Attributes:
        neutral_layers: names of the layers that change nothing before they are trained.

    Raises:
        InputError: where an argument is not one of the above.
    """

    neutral_layers = ("refining",)

    def __init__(
        self,
        image_size: int = 128,
        views: Sequence[str] = tuple(View),
        geometry: str = "chest",
        voxel_mm: float = 2.5,
        encoder_channels: Sequence[int] = (16, 32, 64, 96, 128),
        unet_channels: Sequence[int] = (48, 96, 192),
        head_channels: Sequence[int] = (16, 8),
        lift_channels: Sequence[int] = (32, 8, 4),
        uncertainty: bool = False,
        refinements: int = 0,
    ) -> None:
        names = [views] if isinstance(views, str) else [str(view) for view in views]
        super().__init__(image_size, len(names))
        self.multiple = 2 ** (len(encoder_channels) - 1 + refinements)
        _check_arguments(image_size, refinements, names, encoder_channels, unet_channels, head_channels, lift_channels)
        widths = (unet_channels[0], *head_channels)
        beams = preset(geometry, (image_size, image_size), names)
        self.preset_geometry: Tensor
        self.register_buffer("preset_geometry", geometry_tensor(beams), persistent=False)
        self.stem = nn.Conv2d(PIXEL_CHANNELS, encoder_channels[0], 3, padding=1)
        self.encoder = ResidualUNet(2, encoder_channels)
        quarter, half, full = (
            Lift(of_map, lifted, width, VolumeGrid(image_size >> level, voxel_mm * 2**level))
            for of_map, lifted, width, level in zip(
                encoder_channels[2::-1], lift_channels, widths, range(refinements + 2, refinements - 1, -1), strict=True
            )
        )
        self.lift = quarter
        self.unet = ResidualUNet(3, unet_channels)
        self.half_head = Head(enlarged(widths[0], widths[1]), half, ResidualBlock(3, widths[1]))
        # No norm at full size, where every pass over the memory is expensive.
        body = nn.Sequential(nn.ReLU(), nn.Conv3d(widths[2], widths[2], 3, padding=1), nn.ReLU())
        self.full_head = Head(enlarged(widths[1], widths[2]), full, body)
        self.refining = nn.ModuleList(
            RefiningHead(
                Lift(
                    encoder_channels[0],
                    lift_channels[2],
                    widths[2],
                    VolumeGrid(image_size >> level, voxel_mm * 2**level),
                )
            )
            for level in range(refinements - 1, -1, -1)
        )
        self.value = Pointwise(widths[2], 1)
        self.uncertainty, self.refinements = uncertainty, refinements
        self.error = ErrorHead(widths[2]) if uncertainty else nn.Identity()

    def forward(
        self,
        image: Tensor,
        geometry: Optional[Tensor] = None,  # noqa: UP045 (TorchScript)
        mask: Optional[Tensor] = None,  # noqa: UP045
    ) -> Tensor:
        """Reconstruct the volume.

        Args:
            image: radiographs (B, V, rows, columns) in [0, 1], bright = dense; one to eight views, sides multiples of
                16 pixels.
            geometry: views (B or 1, V, 4, 3) in mm, LPS, with the steps of these pixels; None is the preset.
            mask: whether each view exists (B, V); one that does not may hold anything. None means that all do.

        Returns:
            Unit volume (B, 1, D, H, W), D = H = W = S; linear, without bounds.

        Raises:
            InputError: where shapes do not fit each other, a case has no view, or a view cannot show the volume (not
                checked in TorchScript and ONNX).
        """
        return self.value(self.features(image, geometry, mask))

    def forward_with_error(
        self,
        image: Tensor,
        geometry: Optional[Tensor] = None,  # noqa: UP045 (TorchScript)
        mask: Optional[Tensor] = None,  # noqa: UP045
    ) -> tuple[Tensor, Tensor]:
        """Reconstruct the volume, and estimate the absolute error of each voxel.

        Args:
            image: as in `forward`.
            geometry: as in `forward`.
            mask: as in `forward`.

        Returns:
            The volume as in `forward`, and the expected absolute error (B, 1, D, H, W) in unit values, positive: the
            scale of a Laplace distribution. Its gradient stays in its own layers: the volume does not change with it.

        Raises:
            InputError: as in `forward`, and where the network was made without `uncertainty`.
        """
        if not self.uncertainty:
            raise InputError("this raylift estimates no errors: use or train one made with uncertainty=True")
        features = self.features(image, geometry, mask)
        return self.value(features), self.error(features.detach())

    def features(
        self,
        image: Tensor,
        geometry: Optional[Tensor] = None,  # noqa: UP045 (TorchScript)
        mask: Optional[Tensor] = None,  # noqa: UP045
    ) -> Tensor:
        """Compute everything but the last layer: (B, C, S, S, S). Arguments and errors as in `forward`."""
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            self.check(image, geometry, mask)
        beams = self.preset_geometry if geometry is None else geometry.to(torch.float32)
        beams = beams.expand(image.shape[0], -1, -1, -1)
        if mask is not None:
            mask = (mask > 0)[:, :, None, None]
            image = torch.where(mask, image, torch.zeros_like(image))
            beams = torch.where(mask, beams, self.preset_geometry[:, :1])
        rows, columns = image.shape[2], image.shape[3]
        beams = detector_frames(beams, rows, columns)
        pixels = torch.cat([image[:, :, None], ray_directions(beams, rows, columns)], 2).flatten(0, 1)
        sharper: list[Tensor] = []
        for _ in range(self.refinements):
            sharper.append(pixels)
            pixels = avg_pool2d(pixels, 2)
        half_pixels = avg_pool2d(pixels, 2)
        maps = self.encoder(self.stem(pixels))
        volume = self.unet(self.lift(maps[2], avg_pool2d(half_pixels, 2), beams, mask))[0]
        volume = self.half_head(volume, maps[1], half_pixels, beams, mask)
        volume = self.full_head(volume, maps[0], pixels, beams, mask)
        finest = maps[0]
        for head in self.refining:
            finest = interpolate(finest, scale_factor=2.0, mode="bilinear", align_corners=False)
            volume = head(volume, finest, sharper.pop(), beams, mask)
        return volume

    def recompute(self, levels: int) -> None:
        """Recompute the inner activations of the heads instead of keeping them: less memory, more time.

        Args:
            levels: number of heads whose activations are recomputed, the largest first; 0 keeps everything.
        """
        heads = [module for module in self.modules() if isinstance(module, Head)]
        for number, head in enumerate(reversed(heads), start=1):
            head.recompute = levels >= number

    def check(self, image: Tensor, geometry: Optional[Tensor], mask: Optional[Tensor]) -> None:  # noqa: UP045
        """Refuse what `forward` refuses. All arguments as there."""
        if image.ndim != 4 or not 1 <= image.shape[1] <= MAX_VIEWS:
            raise InputError(
                f"the image has shape {tuple(image.shape)}; raylift takes (batch, views, rows, columns) with 1 to "
                f"{MAX_VIEWS} views"
            )
        batch, views, rows, columns = image.shape
        if rows == 0 or columns == 0 or rows % self.multiple or columns % self.multiple:
            raise InputError(f"radiographs of {rows} x {columns} pixels: raylift takes multiples of {self.multiple}")
        if geometry is None and (views, rows, columns) != (self.views, self.image_size, self.image_size):
            raise InputError(
                f"{views} radiographs of {rows} x {columns} pixels need their geometry: the preset is for {self.views} "
                f"of {self.image_size} x {self.image_size}"
            )
        if geometry is not None and (geometry.shape[1:] != (views, 4, 3) or len(geometry) not in (1, batch)):
            raise InputError(
                f"the geometry has shape {tuple(geometry.shape)}; this image needs ({batch} or 1, {views}, 4, 3)"
            )
        if mask is not None and mask.shape != (batch, views):
            raise InputError(f"the mask has shape {tuple(mask.shape)}; this image needs ({batch}, {views})")
        if not image.is_meta and not torch.compiler.is_compiling():
            if mask is not None and not bool((mask > 0).any(1).all()):
                raise InputError("the mask leaves a case without a view: keep at least one in each case")
            if geometry is not None:
                self._check_views(geometry, mask, rows, columns)

    def _check_views(self, geometry: Tensor, mask: Optional[Tensor], rows: int, columns: int) -> None:  # noqa: UP045
        """Refuse views whose detector or source lies wrong for the volume's outermost voxels."""
        finest = [module.axes for module in self.modules() if isinstance(module, Lift)][-1]
        corners = torch.stack([finest[:, 0], finest[:, -1]], 1)
        beams = detector_frames(geometry.detach().to(corners), rows, columns)
        grid, w = project_grid(beams.flatten(0, 1), corners)
        grid = grid.flatten(1, 3)
        shown = (w.flatten(1) > 0).all(1) & (grid.amax(1) > -1).all(1) & (grid.amin(1) < 1).all(1)
        shown = shown.reshape(len(geometry), -1)
        if mask is not None:
            shown = shown | ~(mask > 0)
        if not bool(shown.all()):
            case, view = (int(i) for i in torch.nonzero(~shown)[0])
            raise InputError(
                f"view {view + 1} of case {case + 1} cannot show the volume, which misses the detector or reaches "
                "behind the source: check that its geometry is in mm, LPS, from the isocentre"
            )


class Lift(nn.Module):
    """Features of each view at every voxel, and their mean and maximum over the views.

    A linear layer commutes with bilinear sampling, so it comes first, in 2-D, where it is cheap and leaves few channels
    to sample. A voxel outside the detector samples 0, which the layer's bias distinguishes from a black film.

    Args:
        map_channels: channels of a view's map.
        channels: channels that are sampled.
        out_channels: channels of the result.
        grid: voxel grid of the result, a cube.
    """

    def __init__(self, map_channels: int, channels: int, out_channels: int, grid: VolumeGrid) -> None:
        super().__init__()
        self.reduce_map = nn.Sequential(Norm(map_channels), nn.SiLU(), nn.Conv2d(map_channels, channels, 1))
        self.reduce_pixels = nn.Conv2d(PIXEL_CHANNELS, channels, 1, bias=False)
        self.depth = nn.Linear(1, channels)
        self.merge = Pointwise(2 * channels, out_channels)
        self.half_size = grid.size[0] / 2
        diagonal = grid.positions_lps(np.arange(grid.shape[0])[:, None].repeat(3, 1))  # (x, y, z) run along (W, H, D)
        self.axes: Tensor
        self.register_buffer("axes", torch.tensor(diagonal[:, ::-1].T.tolist()), persistent=False)

    def forward(
        self,
        feature_map: Tensor,
        pixels: Tensor,
        beams: Tensor,
        mask: Optional[Tensor] = None,  # noqa: UP045 (TorchScript)
    ) -> Tensor:
        """Lift the views.

        Args:
            feature_map: map of each view (B * V, map_channels, rows, columns).
            pixels: radiograph of each view with the directions of its rays (B * V, 4, rows, columns).
            beams: views (B, V, 4, 3), as `detector_frames` gives them.
            mask: whether each view exists (B, V, 1, 1); None means that all do.

        Returns:
            (B, out_channels, S, S, S).
        """
        reduced = self.reduce_map(feature_map) + self.reduce_pixels(pixels)
        reduced = reduced.unflatten(0, [beams.shape[0], beams.shape[1]])
        highest = total = self.sample(reduced[:, 0], beams[:, 0], None if mask is None else mask[:, 0])
        for view in range(1, beams.shape[1]):
            lifted = self.sample(reduced[:, view], beams[:, view], None if mask is None else mask[:, view])
            total = total + lifted
            highest = torch.maximum(highest, lifted)
        mean = total / beams.shape[1] if mask is None else total / mask.sum(1)[..., None, None]
        return self.merge(torch.cat([mean, highest], 1))

    def sample(self, reduced: Tensor, beam: Tensor, exists: Optional[Tensor]) -> Tensor:  # noqa: UP045
        """Lift one view: (B, channels, rows, columns) -> (B, channels, S, S, S), not negative, 0 without a view."""
        grid, _ = project_grid(beam, self.axes)
        depth = depth_along_beam(beam, self.axes) / self.half_size
        size = self.axes.shape[1]
        # In 32 bits under autocast as well: 16 bits cannot hold a position on the detector.
        lifted = grid_sample(reduced.to(grid.dtype), grid.flatten(1, 2), align_corners=False).to(reduced.dtype)
        lifted = lifted.unflatten(2, [size, size])
        weight, bias = self.depth.weight.to(lifted.dtype), self.depth.bias.to(lifted.dtype)
        lifted = lifted.add_(bias[:, None, None, None])
        lifted = lifted.addcmul_(weight[:, :, None, None], depth.to(lifted.dtype)[:, None]).relu_()
        return lifted if exists is None else lifted * exists[..., None, None]


class Head(nn.Module):
    """A volume of twice the size, refined by the views that are lifted to that size.

    Args:
        enlarge: layers that give the smaller volume the size and the channels of the result.
        lift: lift to the size of the result.
        body: layers that follow the sum of the enlarged volume and the lifted views.

    Attributes:
        recompute: whether the backward pass recomputes the inner activations, as in `Stack`.
    """

    def __init__(self, enlarge: nn.Module, lift: Lift, body: nn.Module) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.lift = lift
        self.body = body
        self.recompute = False

    def forward(
        self,
        volume: Tensor,
        feature_map: Tensor,
        pixels: Tensor,
        beams: Tensor,
        mask: Optional[Tensor] = None,  # noqa: UP045 (TorchScript)
    ) -> Tensor:
        """(B, in_channels, S/2, S/2, S/2) -> (B, channels, S, S, S); other arguments as in `Lift`."""
        if torch.jit.is_scripting():
            return self.compute(volume, feature_map, pixels, beams, mask)
        else:
            compute = self.compute
            inputs = (volume, feature_map, pixels, beams, mask)
            return recomputed(compute, *inputs) if self.recompute else compute(*inputs)

    def compute(
        self,
        volume: Tensor,
        feature_map: Tensor,
        pixels: Tensor,
        beams: Tensor,
        mask: Optional[Tensor],  # noqa: UP045 (TorchScript)
    ) -> Tensor:
        """Compute `forward`."""
        return self.merge(self.enlarge(volume), self.lift(feature_map, pixels, beams, mask))

    def merge(self, volume: Tensor, lifted: Tensor) -> Tensor:
        """Merge the enlarged volume with the lifted views: both (B, channels, S, S, S), as is the result."""
        return self.body(volume + lifted)


class RefiningHead(Head):
    """A volume of twice the size, to which the views add what the smaller one could not hold: nothing at first.

    Args:
        lift: lift to the size of the result.
    """

    def __init__(self, lift: Lift) -> None:
        channels = lift.merge.out_features
        added = Pointwise(channels, channels)
        nn.init.zeros_(added.weight)
        nn.init.zeros_(added.bias)
        body = nn.Sequential(nn.ReLU(), nn.Conv3d(channels, channels, 3, padding=1), nn.ReLU(), added)
        super().__init__(nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False), lift, body)

    def merge(self, volume: Tensor, lifted: Tensor) -> Tensor:
        """Add to the enlarged volume; arguments as in `Head.merge`."""
        return volume + self.body(volume + lifted)


class ErrorHead(nn.Module):
    """Expected absolute error of each voxel: (B, channels, S, S, S) -> (B, 1, S, S, S), positive.

    Args:
        channels: channels of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.smallest = SMALLEST_ERROR
        self.layers = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1), nn.ReLU(), Pointwise(channels, 1), nn.Softplus()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Estimate the error."""
        return self.layers(features) + self.smallest


def _check_arguments(
    size: int,
    refinements: int,
    views: Sequence[str],
    encoder_channels: Sequence[int],
    unet_channels: Sequence[int],
    head_channels: Sequence[int],
    lift_channels: Sequence[int],
) -> None:
    if not 1 <= len(views) <= MAX_VIEWS:
        raise InputError(f"views are {views}; name one to {MAX_VIEWS}")
    for name, channels, least, most in (
        ("encoder_channels", encoder_channels, 3, 8),
        ("unet_channels", unet_channels, 1, 8),
        ("head_channels", head_channels, 2, 2),
        ("lift_channels", lift_channels, 3, 3),
    ):
        if not least <= len(channels) <= most or min(channels) < 1:
            count = str(least) if least == most else f"{least} to {most}"
            raise InputError(f"{name} is {list(channels)}; give {count} positive numbers")
    if not 0 <= refinements <= 3:
        raise InputError(f"refinements is {refinements}; give a number from 0 to 3")
    multiple = 2 ** (max(len(encoder_channels) - 1, len(unet_channels) + 1) + refinements)
    if size < 2 * multiple or size % multiple:
        raise InputError(f"image_size is {size}; it must be a multiple of {multiple}, and at least {2 * multiple}")

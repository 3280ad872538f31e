"""Run one DRR tool in one process for `benchmarks.drr`: JSON lines on stdin and stdout, arrays in .npy files.

It runs in the tool's own environment, so the top of this file imports only numpy and the standard library, and each
tool imports its packages in its constructor. Every tool gets the same scene: mu in 1/mm, volumes (N, D, H, W) and views
(V, 4, 3) in LPS mm as in `drr.geometry_tensor`. Every image comes back as (N, V, rows, columns) in our layout.
"""

# ruff: noqa: D102 (methods that the tools override are documented in Tool)

from __future__ import annotations

import gc
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drr_scene import Scene, View
from benchmarks.memory import forget_peak, peak_bytes

LEAST_SECONDS = 0.1
"""Smallest duration of a turn, which repeats a call and keeps the median, so that short calls are steady too."""


class Tool:
    """Base of the tools; results stay in the type of the tool, so that conversion is not timed."""

    own_seconds: float | None = None
    """Time of the last call by the tool's own timer."""

    def __init__(self, scene: Scene, variant: str) -> None:
        self.scene = scene
        self.variant = variant

    def forward(self) -> Any:
        """Project all volumes in all views."""
        raise NotImplementedError

    def gradient(self) -> Any:
        """Project, and compute the gradient of the weighted sum with respect to the volumes."""
        raise NotImplementedError("not differentiable")

    def images(self, result: Any) -> np.ndarray:
        """Convert the result of `forward` to (N, V, rows, columns)."""
        return np.asarray(result)

    def gradients(self, result: Any) -> np.ndarray:
        """Convert the result of `gradient` to (N, D, H, W)."""
        return np.asarray(result)

    def finish(self) -> None:
        """Wait for the device."""

    def peak_bytes(self, call: Callable[[], Any]) -> int:
        """Return the largest number of resident bytes that one call adds, after freed heap has been given back."""
        before = forget_peak()
        result = call()
        peak = peak_bytes()
        del result
        return max(0, peak - before)


class TorchTool(Tool):
    """A differentiable tool: subclasses set `leaves`, the volumes that get the gradient, and `render`."""

    leaves: list[Any]

    def __init__(self, scene: Scene, variant: str) -> None:
        import torch

        super().__init__(scene, variant)
        self.torch = torch
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.weights = torch.from_numpy(scene.weights).to(scene.device)

    def render(self) -> Any:
        """Return a tensor that reshapes to (N, V, rows, columns)."""
        raise NotImplementedError

    def forward(self) -> Any:
        with self.torch.no_grad():
            return self.render()

    def gradient(self) -> Any:
        for leaf in self.leaves:
            leaf.grad = None
        image = self.render()
        (image.reshape(-1, *self.weights.shape) * self.weights).sum().backward()
        return [leaf.grad for leaf in self.leaves]

    def images(self, result: Any) -> np.ndarray:
        return result.cpu().numpy().reshape(len(self.scene.volumes), *self.scene.weights.shape)

    def gradients(self, result: Any) -> np.ndarray:
        return np.stack([grad.cpu().numpy() for grad in result]).reshape(self.scene.volumes.shape)

    def finish(self) -> None:
        if self.scene.device == "cuda":
            self.torch.cuda.synchronize()

    def peak_bytes(self, call: Callable[[], Any]) -> int:
        for leaf in self.leaves:
            leaf.grad = None  # else the call would reuse this memory
        if self.scene.device != "cuda":
            return super().peak_bytes(call)
        self.torch.cuda.synchronize()
        self.torch.cuda.reset_peak_memory_stats()
        before = self.torch.cuda.memory_allocated()
        result = call()
        del result
        return int(self.torch.cuda.max_memory_allocated() - before)


class Ours(TorchTool):
    """`drr.project`; the variant is its backend, or "tensor": views as a new tensor in each call, as in jitter."""

    def __init__(self, scene: Scene, variant: str) -> None:
        from drr import ConeBeam, VolumeGrid, geometry_tensor, project

        super().__init__(scene, variant)
        grid = VolumeGrid(scene.volumes.shape[1:], scene.spacing)
        views = [ConeBeam(**_beam(view), detector_shape=scene.shape) for view in scene.views]
        mu = self.torch.from_numpy(scene.volumes)[:, None].to(scene.device).requires_grad_()
        self.leaves = [mu]
        if variant == "tensor":
            self.render = lambda: project(mu, grid, geometry_tensor(views), detector_shape=scene.shape)
        else:
            self.render = lambda: project(mu, grid, views, backend=variant or "auto")


class GridSample(TorchTool):
    """The plain form: `grid_sample` of every slice at the places where the rays cross it, which a table holds."""

    def __init__(self, scene: Scene, variant: str) -> None:
        super().__init__(scene, variant)
        self.leaves = [self.torch.from_numpy(scene.volumes).to(scene.device).requires_grad_()]
        self.tables = [self._table(view) for view in scene.views]

    def render(self) -> Any:
        sample = self.torch.nn.functional.grid_sample
        images = []
        for volume in self.leaves[0]:
            for along, places, lengths in self.tables:
                slices = volume.movedim(along, 0)[:, None]
                images.append(sample(slices, places, align_corners=False).sum(0)[0] * lengths)
        return self.torch.stack(images)

    def _table(self, view: View) -> tuple[int, Any, Any]:
        """Return the axis that is marched along, (slices, rows, columns, 2) for `grid_sample`, and lengths in mm."""
        source, centre, column_step, row_step = view.numbers.astype(np.float64)
        rows, columns = (np.arange(n) - (n - 1) / 2 for n in self.scene.shape)
        rays = centre + columns[:, None] * column_step + rows[:, None, None] * row_step - source
        size = self.scene.volumes.shape[-1]
        towards = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]) / self.scene.spacing  # D, H, W from LPS
        start, step = source @ towards.T + (size - 1) / 2, rays @ towards.T  # in voxels
        along = int(np.abs(step).min((0, 1)).argmax())
        at = (np.arange(size)[:, None, None] - start[along]) / step[..., along]
        across = [axis for axis in (2, 1, 0) if axis != along]
        places = np.stack([(start[axis] + at * step[..., axis] + 0.5) / size * 2 - 1 for axis in across], -1)
        lengths = np.linalg.norm(rays, axis=-1) / np.abs(step[..., along])
        return along, *(self.torch.from_numpy(a).float().to(self.scene.device) for a in (places, lengths))


def _beam(view: View) -> dict[str, tuple[float, ...]]:
    names = ("source", "detector_centre", "column_step", "row_step")
    return dict(zip(names, (tuple(row) for row in view.numbers), strict=True))


class DiffDRR(TorchTool):
    """Volumes in a loop (it takes one), views as a batch of poses; the variant is its renderer."""

    def __init__(self, scene: Scene, variant: str) -> None:
        from diffdrr.drr import DRR
        from diffdrr.pose import RigidTransform
        from torchio import ScalarImage, Subject

        super().__init__(scene, variant)
        torch = self.torch
        poses = np.stack([view.camera_to_ras(down=-1.0) for view in scene.views])
        pose = RigidTransform(torch.tensor(poses, dtype=torch.float32, device=scene.device))
        view = scene.views[0]
        self.leaves, self.projectors = [], []
        for volume in scene.volumes:
            ras = torch.from_numpy(np.ascontiguousarray(volume.T[::-1, ::-1, ::-1]))[None]
            affine = np.diag([*[scene.spacing] * 3, 1.0])
            affine[:3, 3] = scene.first_voxel
            image = ScalarImage(tensor=ras, affine=affine)
            # As in diffdrr.data.read, without its density in [0, 1].
            subject = Subject(volume=image, density=image, mask=None, fiducials=None, reorient=torch.eye(4))
            size = {"height": scene.shape[0], "width": scene.shape[1], "delx": view.pitch[0], "dely": view.pitch[1]}
            projector = DRR(subject, sdd=view.sdd, **size, reverse_x_axis=False, renderer=variant or "siddon")
            projector = projector.to(scene.device)
            projector.density = projector.density.requires_grad_()
            self.leaves.append(projector.density)
            self.projectors.append(projector)
        self.render = lambda: torch.stack([projector(pose)[:, 0] for projector in self.projectors])

    def gradients(self, result: Any) -> np.ndarray:
        return np.stack([grad.cpu().numpy().T[::-1, ::-1, ::-1] for grad in result])


class NanoDRR(TorchTool):
    """Volumes in a loop (its fused kernels take one), views as a batch of poses; default number of samples."""

    def __init__(self, scene: Scene, variant: str) -> None:
        from nanodrr.data import Subject
        from nanodrr.drr import DRR
        from torchio import ScalarImage

        super().__init__(scene, variant)
        torch = self.torch
        poses = np.stack([view.camera_to_ras(down=1.0) for view in scene.views])
        pose = torch.tensor(poses, dtype=torch.float32, device=scene.device)
        view = scene.views[0]
        projector = DRR.from_carm_intrinsics(view.sdd, *view.pitch, 0.0, 0.0, *scene.shape, device=scene.device)
        affine = np.diag([*[-scene.spacing] * 3, 1.0])
        affine[:3, 3] = -scene.first_voxel
        subjects = []
        for volume in scene.volumes:
            image = ScalarImage(tensor=torch.from_numpy(volume.T.copy())[None], affine=affine)
            subject = Subject.from_images(image, convert_to_mu=False).to(scene.device)
            subject._image_hu = subject._image_hu.requires_grad_()
            subjects.append(subject)
        self.leaves = [subject._image_hu for subject in subjects]
        self.render = lambda: torch.stack([projector(subject, pose)[:, 0] for subject in subjects])


class RTK(Tool):
    """Joseph filters of itk-rtk, which has no gradient: instead, the back projection of the weights, the adjoint."""

    def __init__(self, scene: Scene, variant: str) -> None:
        import itk
        from itk import RTK as rtk  # noqa: N811 (the package's own name)

        super().__init__(scene, variant)
        self.itk, self.rtk = itk, rtk
        self.kind = itk.Image[itk.F, 3]
        self.geometry = rtk.ThreeDCircularProjectionGeometry.New()
        for view in scene.views:
            right, down, _ = view.axes
            points = [itk.Point[itk.D, 3](row.tolist()) for row in view.numbers[:2]]
            vectors = [itk.Vector[itk.D, 3](axis.tolist()) for axis in (right, -down)]
            self.geometry.AddProjection(*points, *vectors)
        cube = [scene.first_voxel] * 3
        self.volumes = [self._image(volume, [scene.spacing] * 3, cube) for volume in scene.towards_head]
        self.pitch = [*scene.views[0].pitch, 1.0]
        self.corner = [-(n - 1) / 2 * step for n, step in zip(scene.shape[::-1], self.pitch, strict=False)] + [0.0]
        self.weights = self._image(scene.weights[:, ::-1], self.pitch, self.corner)

    def _image(self, array: np.ndarray, spacing: list[float], origin: list[float]) -> Any:
        image = self.itk.image_from_array(np.ascontiguousarray(array))
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        return image

    def _run(self, name: str, size: list[int], spacing: list[float], origin: list[float], source: Any) -> Any:
        empty = self.rtk.ConstantImageSource[self.kind].New()
        empty.SetSize(size)
        empty.SetSpacing(spacing)
        empty.SetOrigin(origin)
        filter_ = getattr(self.rtk, name)[self.kind, self.kind].New()
        filter_.SetInput(0, empty.GetOutput())
        filter_.SetInput(1, source)
        filter_.SetGeometry(self.geometry)
        filter_.Update()
        return filter_.GetOutput()

    def forward(self) -> Any:
        size = [*self.scene.shape[::-1], len(self.scene.views)]
        joseph = "JosephForwardProjectionImageFilter"
        return [self._run(joseph, size, self.pitch, self.corner, volume) for volume in self.volumes]

    def gradient(self) -> Any:
        self.forward()
        size, spacing = list(self.scene.volumes.shape[:0:-1]), [self.scene.spacing] * 3
        joseph = "JosephBackProjectionImageFilter"
        return [self._run(joseph, size, spacing, [self.scene.first_voxel] * 3, self.weights) for _ in self.volumes]

    def images(self, result: Any) -> np.ndarray:
        return np.stack([self.itk.array_from_image(image)[:, ::-1] for image in result])

    def gradients(self, result: Any) -> np.ndarray:
        return np.stack([self.itk.array_from_image(image)[::-1] for image in result])


class Plastimatch(Tool):
    """`plastimatch drr`, a process for each volume and view that reads the volume and writes the image."""

    def __init__(self, scene: Scene, variant: str) -> None:
        super().__init__(scene, variant)
        self.folder = tempfile.TemporaryDirectory()
        self.peak_kib = 0
        for index, volume in enumerate(scene.towards_head):
            _write_mha(Path(self.folder.name) / f"{index}.mha", volume, scene.spacing, scene.first_voxel)

    def forward(self) -> Any:
        self.own_seconds, self.peak_kib = 0.0, 0
        for index in range(len(self.scene.volumes)):
            for number, view in enumerate(self.scene.views):
                self._run(f"{index}.mha", f"{index}_{number}_", view)
        return self.folder.name

    def _run(self, volume: str, prefix: str, view: View) -> None:
        rows, columns = self.scene.shape
        options = {
            "--algorithm": self.variant or "exact",
            "--hu-conversion": "none",
            "--output-format": "pfm",
            "--isocenter": "0 0 0",
            "--nrm": _text(-view.axes[2]),
            "--vup": _text(-view.axes[1]),
            "--sad": _text([np.linalg.norm(view.numbers[0])]),
            "--sid": _text([view.sdd]),
            "--dim": f"{rows} {columns}",
            "--detector-size": _text([rows * view.pitch[1], columns * view.pitch[0]]),
        }
        command = ["plastimatch", "drr", *(part for pair in options.items() for part in pair), "-O", prefix, volume]
        with subprocess.Popen(command, cwd=self.folder.name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
            said = run.stdout.read().decode()
            _, status, usage = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
        if run.returncode:
            raise RuntimeError(f"plastimatch ended with {run.returncode}: {said[-300:]}")
        self.own_seconds += float(re.search(r"Total time: (\S+)", said).group(1))
        self.peak_kib = max(self.peak_kib, usage.ru_maxrss)

    def images(self, result: Any) -> np.ndarray:
        paths = [
            [Path(result) / f"{index}_{number}_0000.pfm" for number in range(len(self.scene.views))]
            for index in range(len(self.scene.volumes))
        ]
        # It writes a tenth of the line integral, mirrored, as seen from the source.
        return np.array([[_read_pfm(path, self.scene.shape)[:, ::-1] for path in row] for row in paths]) * 10

    def peak_bytes(self, call: Callable[[], Any]) -> int:
        """Return the size of the whole process, as nothing of it exists before the call."""
        call()
        return self.peak_kib * 1024


def _text(numbers: Any) -> str:
    return " ".join(f"{number:.9g}" for number in numbers)


def _write_mha(path: Path, volume: np.ndarray, spacing: float, first_voxel: float) -> None:
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "Offset": _text([first_voxel] * 3),
        "ElementSpacing": _text([spacing] * 3),
        "DimSize": _text(volume.shape[::-1]),
        "ElementType": "MET_FLOAT",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{key} = {value}\n" for key, value in header.items())
    path.write_bytes(text.encode() + np.ascontiguousarray(volume, dtype="<f4").tobytes())


def _read_pfm(path: Path, shape: tuple[int, int]) -> np.ndarray:
    data = path.read_bytes()
    return np.frombuffer(data[-4 * shape[0] * shape[1] :], dtype="<f4").reshape(shape)


TOOLS: dict[str, type[Tool]] = {
    "ours": Ours,
    "grid_sample": GridSample,
    "diffdrr": DiffDRR,
    "nanodrr": NanoDRR,
    "rtk": RTK,
    "plastimatch": Plastimatch,
}


@dataclass
class Worker:
    """Scenes by name, and the answers to requests about them."""

    tool: str
    scenes: dict[str, Tool] = field(default_factory=dict)

    def answer(self, do: str, scene: str = "", mode: str = "forward", path: str = "", **numbers: Any) -> dict[str, Any]:
        """Answer one request: `load` or `drop` a scene, `save` a result, measure its `time` or its peak `memory`."""
        if do == "load":
            name, _, variant = self.tool.partition(":")
            volumes, weights = np.load(numbers["volumes"]), np.load(numbers["weights"])
            views = [View(np.array(view)) for view in numbers["views"]]
            shape = (weights.shape[1], weights.shape[2])
            loaded = Scene(volumes, numbers["spacing"], views, shape, weights, numbers["device"])
            self.scenes[scene] = TOOLS[name](loaded, variant)
            return {}
        if do == "drop":
            self.scenes.pop(scene, None)
            gc.collect()
            return {}
        tool = self.scenes[scene]
        call = tool.forward if mode == "forward" else tool.gradient
        if do == "save":
            result = call()
            np.save(path, tool.images(result) if mode == "forward" else tool.gradients(result))
            return {}
        if do == "memory":
            return {"bytes": tool.peak_bytes(call)}
        return self._time(tool, call)

    @staticmethod
    def _time(tool: Tool, call: Callable[[], Any]) -> dict[str, Any]:
        seconds: list[float] = []
        own: list[float] = []
        while sum(seconds) < LEAST_SECONDS:
            start = time.perf_counter()
            result = call()
            tool.finish()
            seconds.append(time.perf_counter() - start)
            del result
            if tool.own_seconds is not None:
                own.append(tool.own_seconds)
        return {"ms": 1e3 * statistics.median(seconds), "own_ms": 1e3 * statistics.median(own) if own else None}


def main(tool: str) -> None:
    """Answer requests until stdin ends.

    Args:
        tool: a key of `TOOLS`, with the variant after a colon.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the output of the tools away from the answers
    worker = Worker(tool)
    for line in sys.stdin:
        try:
            answer = worker.answer(**json.loads(line))
        except Exception as error:  # the table reports all errors of a tool
            kind = "" if isinstance(error, NotImplementedError) else f"{type(error).__name__}: "
            answer = {"error": f"{kind}{error}".splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])

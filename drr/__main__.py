"""`python -m drr CT --output DIR`: compute DRRs of a CT. See `--help`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from conventions import DRR_STATEMENT, LPS_TO_RAS, InputError, run_command
from export import new_uid, write_dicom_radiograph, write_png16, write_radiograph_nifti
from reports import draw_radiographs
from storage import check_run, set_aside
from transforms import DECISIONS, RayCastDRR, ReadVolume, ResampleToGrid

from . import Acquisition, Beam, ConeBeam, VolumeGrid
from .view_labels import detector_affine, edge_letters, source_to_patient, view_position, view_record

MIN_SPACING_MM = 1.0
"""Smallest spacing that a scan is resampled to unless another is requested."""

ASSUMED = ("the centre of the scan is the isocentre", "what the scan did not cover is air")


def render(
    ct: str,
    output: str,
    views: str | Sequence[str] = "pa,lateral",
    angles: str | float | Sequence[float] = "",
    preset: str = "chest",
    curve: str = "water",
    film_style: str = "linear",
    detector_shape: int | Sequence[int] = 512,
    spacing: float | None = None,
    device: str = "cpu",
) -> None:
    """Compute DRRs of a CT by ray casting.

    Writes each view as 16-bit PNG, as NIfTI with a JSON sidecar that holds the geometry, and as DICOM, all marked as
    computed; and check.png, all views with the patient's sides. Files of an earlier run are renamed.

    Examples:
        python -m drr chest.nii.gz --output out
        python -m drr DICOM_FOLDER --output out --views pa,ap,left_lateral,right_lateral
        python -m drr chest.mha --output out --views "" --angles "0,45,90" --film_style logistic
        python -m drr chest.nrrd --output out --preset x2ct --curve plastimatch --film_style x2ct

    Args:
        ct: a CT in HU: .nii, .nii.gz, .mha, .mhd, .nrrd, or a folder or file of a DICOM series.
        output: folder to write to.
        views: any of pa, ap, lateral (that of the preset), left_lateral, right_lateral (that side at the detector);
            parallel_pa and so on for parallel rays.
        angles: angles of further, oblique views in degrees: PA turned about the patient, 45 is left anterior oblique.
        preset: distances and detector: chest or x2ct.
        curve: HU to attenuation: water, bone or plastimatch.
        film_style: line integral to film value: linear, logistic, transmission or x2ct, explained in docs/drr.md.
        detector_shape: pixels per side, or "rows,columns".
        spacing: spacing of the volume that rays are cast through, in mm; by default the scan's smallest, at least 1.
        device: cpu or cuda.
    """
    shape = [int(n) for n in _numbers("detector_shape", detector_shape)]
    names = _words(views) + [f"oblique_{angle:g}" for angle in _numbers("angles", angles)]
    if not names:
        raise InputError("no view is asked for: give --views or --angles")
    acquisition = Acquisition(  # refuses an unknown name before the long reading
        geometry=preset,
        view_names=tuple(names),
        curve=curve,
        film_style=film_style,
        detector_shape=tuple(shape * 2 if len(shape) == 1 else shape),
        anchor="centre",
    )
    check_run(device, [output])
    scan = ReadVolume()(Path(ct))
    acquisition = acquisition.replace(grid=_whole_scan(scan, spacing))
    volume_hu = ResampleToGrid(acquisition)(scan)
    images = RayCastDRR(acquisition, device)(volume_hu).numpy()
    beams = dict(zip(names, acquisition.views, strict=True))
    made_by = {
        "ct": Path(ct).name,
        "geometry": preset,
        "curve": curve,
        "film_style": film_style,
        "spacing_mm": acquisition.grid.spacing[0],
    }
    decisions = json.loads(scan.meta[DECISIONS])
    _write(Path(output), beams, images, _centre_lps(volume_hu), made_by, decisions)
    print(f"{', '.join(beams)} in {output}; look at {Path(output) / 'check.png'}")


def _words(value: Any) -> list[str]:
    """Return the words of "a,b" or of a sequence; fire passes either."""
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    return [word.strip() for word in map(str, words) if word.strip()]


def _numbers(name: str, value: Any) -> list[float]:
    try:
        numbers = [float(word) for word in _words(value)]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"--{name} must be numbers, separated by commas, got {value!r}")
    return numbers


def _whole_scan(scan: MetaTensor, spacing: float | None) -> VolumeGrid:
    """Return the isotropic grid that holds all of a scan."""
    steps = scan.affine.numpy()[:3, :3]
    if spacing is None:
        side = max(MIN_SPACING_MM, float(np.linalg.norm(steps, axis=0).min()))
    else:
        side = (_numbers("spacing", spacing) or [0.0])[0]
        if not side > 0:
            raise InputError(f"--spacing must be positive, got {spacing!r}")
    x, y, z = np.abs(steps) @ np.array(scan.shape[1:])
    return VolumeGrid([np.ceil(extent / side - 1e-3) for extent in (z, y, x)], side)


def _centre_lps(volume_hu: MetaTensor) -> np.ndarray:
    middle = (np.array(volume_hu.shape[1:]) - 1) / 2
    affine = volume_hu.affine.numpy()
    return LPS_TO_RAS * (affine[:3, :3] @ middle + affine[:3, 3])


def _write(
    folder: Path,
    beams: Mapping[str, Beam],
    images: np.ndarray,
    isocentre_lps: np.ndarray,
    made_by: Mapping[str, Any],
    ct_decisions: Sequence[Mapping[str, Any]],
) -> None:
    files = [folder / f"{name}{suffix}" for name in beams for suffix in (".png", ".nii.gz", ".json", ".dcm")]
    set_aside(folder / "check.png", *files)
    study_uid = new_uid()
    for (name, view), image in zip(beams.items(), images, strict=True):
        assumed = _assumed(view)
        record = {
            "name": name,
            **view_record(view),
            "isocentre_in_the_scan_lps_mm": isocentre_lps.tolist(),
            **made_by,
            "ct_decisions": list(ct_decisions),
            "assumed": assumed,
        }
        marked = {**made_by, "view": name}
        write_png16(folder / f"{name}.png", image, marked)
        write_radiograph_nifti(folder / f"{name}.nii.gz", image, detector_affine(view, isocentre_lps), record)
        _, bottom, _, right = edge_letters(view)
        write_dicom_radiograph(
            folder / f"{name}.dcm",
            image,
            pixel_spacing=(float(np.linalg.norm(view.row_step)), float(np.linalg.norm(view.column_step))),
            orientation=(right, bottom),
            view_position=view_position(view),
            sdd=view.sdd if isinstance(view, ConeBeam) else None,
            source_to_patient=source_to_patient(view),
            description=name,
            derivation=_derivation(name, view, made_by, assumed),
            study_uid=study_uid,
            record=marked,
        )
    letters = [edge_letters(view) for view in beams.values()]
    title = ", ".join(str(made_by[key]) for key in ("ct", "geometry", "curve", "film_style"))
    draw_radiographs(folder / "check.png", images, list(beams), letters, title)


def _assumed(view: Beam) -> list[str]:
    leant_on = source_to_patient(view)
    if leant_on is None:
        return list(ASSUMED)
    return [*ASSUMED, f"the patient leans on a surface {leant_on:g} mm from the source (in the DICOM file only)"]


def _derivation(name: str, view: Beam, made_by: Mapping[str, Any], assumed: Sequence[str]) -> str:
    distances = "parallel rays"
    if isinstance(view, ConeBeam):
        distances = f"source to detector {view.sdd:g} mm, source to isocentre {view.sod:g} mm"
    choices = ", ".join(f"{key} {made_by[key]}" for key in ("geometry", "curve", "film_style"))
    return f"{DRR_STATEMENT} View {name}; {distances}; {choices}. Assumed: {'; '.join(assumed)}."


if __name__ == "__main__":
    run_command(render, "drr")

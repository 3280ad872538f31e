"""`python -m export`: write predicted CTs as DICOM, and make one bundle of a model. Each command has `--help`."""

from __future__ import annotations

from conventions import run_command

from .archive import write_archive
from .dicom_series import write_dicom_series
from .predicted import read_synthetic_ct


def dicom(
    volume: str, output: str, pa: str | None = None, lateral: str | None = None, corner_text: bool = False
) -> None:
    """Write a CT that `inferring` predicted as a DICOM series, marked as synthetic.

    Patient and study are those of the films, which must be the ones that the CT was predicted from; nothing but you can
    know that they are. Without films, or with films that are pictures, the patient has no name.

    Examples:
        python -m export dicom output/inference/synthetic_ct.nii.gz --pa pa.dcm --lateral lateral.dcm --output OUT

    Args:
        volume: NIfTI file of the CT, its sidecar next to it.
        output: folder to make; it must not exist, or be empty.
        pa: file of the PA film.
        lateral: file of the lateral film.
        corner_text: burn SYNTHETIC CT into a corner of each slice.
    """
    voxels, affine, sidecar = read_synthetic_ct(volume)
    films = [film for film in (pa, lateral) if film is not None]
    model, radiographs = sidecar.get("model"), sidecar.get("radiographs", [])
    made = write_dicom_series(output, voxels, affine, model, films, radiographs, corner_text)
    print(f"{len(list(made.iterdir()))} slices are in {made}")


def archive(destination: str, checkpoint: str, overlays: str | None = None, evaluation: str | None = None) -> None:
    """Make one self-contained bundle of a model: configs, weights, code, model card and licence in one folder.

    `monai.bundle` runs it from any folder (--bundle_root), and `monai.bundle.load`, MONAI Label and the model zoo get
    the right network from it. The keys of the patients that the model has seen are left out.

    Examples:
        python -m export archive output/x2ct_bundle --checkpoint output/demo/raylift/models/model.pt

    Args:
        destination: folder to make; it must not exist, or be empty.
        checkpoint: the model file, with model.json next to it.
        overlays: names of the overlays of its training, such as chest,raylift; by default those in run.json next to it.
        evaluation: folder of an evaluation of this model, whose figures go into metadata.json.
    """
    made = write_archive(destination, checkpoint, overlays.split(",") if overlays else None, evaluation)
    print(f"the bundle is in {made}")


if __name__ == "__main__":
    run_command({"archive": archive, "dicom": dicom}, name="export")

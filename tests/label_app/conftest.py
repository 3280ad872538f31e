"""A tiny model as an archive, studies of phantoms, and a server that runs for a module."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from drr import Acquisition, VolumeGrid
from export import write_archive, write_png16
from networks import build_network, make_record, write_record
from tests.film_phantom import films as phantom_films
from tests.readers.radiographs.film_files import DX, IDENTIFYING, dataset, stored

CR = "1.2.840.10008.5.1.4.1.1.1"
SIZE, SPACING = 32, 10.0


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest RayLift, with random weights."""
    folder = tmp_path_factory.mktemp("archive")
    torch.manual_seed(0)
    options = {"encoder_channels": [4] * 3, "unet_channels": [4] * 2, "head_channels": [4, 4], "lift_channels": [4] * 3}
    views = ["pa", "lateral"]
    options |= {"image_size": SIZE, "views": views, "geometry": "chest", "voxel_mm": SPACING, "uncertainty": True}
    network = build_network("raylift", **options)
    acquisition = Acquisition(
        geometry="chest", view_names=views, curve="water", film_style="linear", anchor="lungs",
        grid=VolumeGrid(SIZE, SPACING), detector_shape=SIZE,
    )  # fmt: skip
    torch.save(network.state_dict(), folder / "model.pt")
    write_record(folder / "model.pt", make_record(network, acquisition, (-1024, 1476)))
    return write_archive(folder / "bundle", folder / "model.pt", ["chest", "raylift"])


def film(seed: int, view: str, kind: str = "DX", **tags: str) -> object:
    """Return a film of a phantom as DICOM."""
    number = 0 if view == "PA" else 1
    said = {
        **IDENTIFYING,
        "SOPClassUID": DX if kind == "DX" else CR,
        "Modality": kind,
        "StudyInstanceUID": f"2.25.{seed}",
        "SeriesInstanceUID": f"2.25.{seed}1",
        "SOPInstanceUID": f"2.25.{seed}1{number + 1}",
        "ViewPosition": view,
        "PatientOrientation": ["L", "F"] if view == "PA" else ["P", "F"],
        "ImagerPixelSpacing": [430 / 400, 430 / 400],
        **tags,
    }
    made = dataset(stored(phantom_films(seed)[number]), **said)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def write_studies(folder: Path) -> Path:
    """Write a pair of pictures, and studies of DICOM: in one series, and in two of CR."""
    folder.mkdir(exist_ok=True)
    for view, pixels in zip(("pa", "lateral"), phantom_films(1), strict=True):
        write_png16(folder / f"smith_{view}.png", pixels, computed=False)
    for name, kind, series in (("one_series", "DX", "2.25.21"), ("two_series", "CR", "2.25.22")):
        (folder / name / "second").mkdir(parents=True)
        film(2, "PA", kind).save_as(folder / name / "IM1")
        film(2, "LL", kind, SeriesInstanceUID=series).save_as(folder / name / "second" / "IM1")
    return folder


def infer_by_command(archive: Path, folder: Path, **options: object) -> nibabel.Nifti1Image:
    """Predict as `python -m monai.bundle run inferring` does, from a folder elsewhere."""
    words = [sys.executable, "-m", "monai.bundle", "run", "inferring", "--bundle_root", archive, "--page", "false"]
    words += ["--config_file", archive / "configs" / "inference.json", "--output_dir", folder]
    words += [text for key, value in options.items() for text in (f"--{key}", value)]
    done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return nibabel.load(folder / "synthetic_ct.nii.gz")


def assert_same(content: bytes, expected: nibabel.Nifti1Image) -> None:
    """Compare a CT that came by HTTP with one on disk, voxel for voxel, with its place and its mark."""
    found = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    assert np.asarray(found.dataobj).dtype == np.int16
    np.testing.assert_array_equal(found.affine, expected.affine)
    assert found.header["descrip"] == expected.header["descrip"]
    texts = [[part.get_content() for part in image.header.extensions] for image in (found, expected)]
    assert texts[0] == texts[1]

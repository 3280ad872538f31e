"""Rows 6, 16, 17 and 24 of the public reports, cases 57 to 76."""

import gzip
import struct

import itk
import nibabel
import numpy as np
import pytest

from tests.readers.ct.ct_files import (
    COLUMNS,
    ROWS,
    SLICES,
    at_affine,
    axial_affine,
    refused,
    right,
    says,
    silent,
    volume,
    write_nifti,
)


def patched(path, offset, form, *values):
    """Overwrite numbers in the header of a NIfTI-1 file."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + form, data, offset, *values)
    path.write_bytes(data)
    return path


def test_a_plain_file(tmp_path):
    scan = right(write_nifti(tmp_path / "ct.nii.gz"))
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, volume())
    np.testing.assert_allclose(scan.affine, axial_affine(), atol=1e-4)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e3), ("meter", 1e-3)])
def test_units_become_mm_as_itk_has_it(tmp_path, unit, factor):
    """Row 6."""
    scaled = np.diag([factor, factor, factor, 1]) @ axial_affine()
    path = write_nifti(tmp_path / "ct.nii", affine=scaled, unit=unit)
    scan = right(path)
    silent(scan)
    says(scan, "found", "unit", "becomes mm")
    np.testing.assert_allclose(np.array(itk.imread(str(path)).GetSpacing()), [8, 8, 10], rtol=1e-5)
    np.testing.assert_allclose(scan.affine, axial_affine(), rtol=1e-5, atol=1e-3)


def test_a_unit_that_is_not_stated_is_mm(tmp_path):
    says(right(write_nifti(tmp_path / "ct.nii", unit="unknown")), "assumed", "unit", "mm are assumed")


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_a_unit_that_contradicts_the_size_of_a_patient(tmp_path, unit):
    says(right(write_nifti(tmp_path / "ct.nii", unit=unit)), "doubt", "unit", "only mm give the size of a patient")


@pytest.mark.parametrize("unit", ["unknown", "mm"])
def test_a_volume_larger_than_a_patient_is_refused(tmp_path, unit):
    affine = np.diag([1e3, 1e3, 1e3, 1]) @ axial_affine()
    refused(write_nifti(tmp_path / "ct.nii", affine=affine, unit=unit), "covers 440000 x 320000 x 310000 mm, more than")


def test_a_small_field_is_refused(tmp_path):
    affine = np.diag([0.2, 1, 1, 1]) @ axial_affine()
    refused(write_nifti(tmp_path / "ct.nii", affine=affine), "covers only 88 x 320 x 310 mm, too little for a thorax")


def test_a_long_scan_is_read_with_a_doubt(tmp_path):
    """Row 14."""
    affine = axial_affine()
    affine[2, 2:] *= 1600 / 310
    scan = right(write_nifti(tmp_path / "ct.nii", at_affine(affine, (COLUMNS, ROWS, SLICES)), affine))
    says(scan, "doubt", "extent", "1600 mm from head to feet, more than a chest; crop it, or lay it by its lungs")


@pytest.mark.parametrize("excess", [3e-7, 1e-5])
def test_a_quaternion_just_above_one(tmp_path, excess):
    """Row 16: other programs take w = 0, which is a turn by 180 degrees."""
    path = write_nifti(tmp_path / "ct.nii", sform=0)  # axes to the left and the back: quaternion (0, 0, 1)
    patched(path, 256, "3f", 0, 0, 1 + excess)
    scan = right(path)
    silent(scan)
    np.testing.assert_allclose(scan.affine, axial_affine(), atol=1e-3)


def test_a_quaternion_far_above_one_is_refused(tmp_path):
    path = patched(write_nifti(tmp_path / "ct.nii", sform=0), 256, "3f", 0, 0, 1.2)
    refused(path, r"its orientation \(qform\) is damaged")


def two_forms(path, sform, sform_code=2):
    image = nibabel.Nifti1Image(volume().astype(np.int16), axial_affine())
    image.set_qform(axial_affine(), 1)
    image.set_sform(sform, sform_code)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_forms_that_mirror_each_other_are_refused(tmp_path, axis):
    """Row 17."""
    mirrored = np.eye(4)
    mirrored[axis, axis] = -1
    refused(two_forms(tmp_path / "ct.nii", mirrored @ axial_affine()), "qform and sform contradict each other")


def test_forms_that_differ_a_little_are_doubted(tmp_path):
    moved = axial_affine()
    moved[:3, 3] += [3, 0, 4]
    scan = right(two_forms(tmp_path / "ct.nii", moved), share=1)
    says(scan, "doubt", "orientation", "qform and sform lie up to 5.0 apart; the sform is taken")
    np.testing.assert_allclose(scan.affine, moved, atol=1e-4)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "ASL", "IPR"])
def test_axes_of_any_code(tmp_path, codes):
    """Case 75."""
    image = nibabel.Nifti1Image(volume().astype(np.int16), axial_affine())
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(turn)
    scan = right(write_nifti(tmp_path / "ct.nii", np.asarray(turned.dataobj), turned.affine))
    assert "".join(nibabel.aff2axcodes(scan.affine)) == codes
    silent(scan)


def test_a_sheared_affine_is_kept(tmp_path):
    """Case 74: resampling takes the affine as it is."""
    affine = axial_affine()
    affine[1, 2] = 1.7
    shape = (COLUMNS, ROWS, SLICES)
    scan = right(write_nifti(tmp_path / "ct.nii", at_affine(affine, shape), affine, qform=0))
    says(scan, "found", "tilt", f"{np.degrees(np.arctan(0.17)):.1f} degrees")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_types_with_slope_and_intercept(tmp_path, dtype):
    image = nibabel.Nifti1Image((2 * (volume() + 1024)).astype(dtype), axial_affine())
    image.header.set_slope_inter(0.5, -1024)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "ct.nii.gz")
    path = tmp_path / "ct.nii.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<2f", raw, 112, 0.5, -1024)  # nibabel writes none for floats
    path.write_bytes(gzip.compress(bytes(raw)))
    np.testing.assert_array_equal(right(path).volume_hu, volume())


def test_a_slope_of_zero_means_none(tmp_path):
    """Case 68."""
    right(patched(write_nifti(tmp_path / "ct.nii"), 112, "2f", 0, 5))


@pytest.mark.parametrize("kind", ["nifti2", "big endian", "pair"])
def test_other_kinds_of_nifti(tmp_path, kind):
    made = {
        "nifti2": lambda: nibabel.Nifti2Image(volume().astype(np.int16), axial_affine()),
        "big endian": lambda: nibabel.Nifti1Image(
            volume().astype(">i2"), axial_affine(), nibabel.Nifti1Header(endianness=">")
        ),
        "pair": lambda: nibabel.Nifti1Pair(volume().astype(np.int16), axial_affine()),
    }[kind]()
    made.set_sform(axial_affine(), 1)
    name = "ct.hdr" if kind == "pair" else "CT.NII"
    nibabel.save(made, tmp_path / "ct.img" if kind == "pair" else tmp_path / "ct.nii")
    if kind != "pair":
        (tmp_path / "ct.nii").rename(tmp_path / name)
    np.testing.assert_array_equal(right(tmp_path / name).volume_hu, volume())


def test_content_counts_not_the_name(tmp_path):
    """Cases 60 and 61."""
    plain, packed = write_nifti(tmp_path / "a.nii"), write_nifti(tmp_path / "b.nii.gz")
    right(plain.rename(tmp_path / "plain.nii.gz"))
    right(packed.rename(tmp_path / "packed.nii"))
    right((tmp_path / "packed.nii").rename(tmp_path / "no suffix"))


def test_what_is_no_nifti_is_named(tmp_path):
    refused(tmp_path / "absent.nii.gz", "there is no such file")
    for name, data, words in (
        ("empty.nii", b"", "is an empty file"),
        ("text.nii", b"no CT " * 300, "is a text file, which is not read as a CT; give NIfTI, MHA"),
        ("bytes.nii", bytes(range(256)) * 9, "is a file of an unknown format"),
        ("other.nii.gz", gzip.compress(b"x" * 5000), "is a gzip file without NIfTI in it"),
        ("picture.nii", b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "is a PNG file, which is not read as a CT"),
        ("data.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "is a HDF5 file, which is not read as a CT"),
    ):
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, words)
    magic = patched(write_nifti(tmp_path / "ct.nii"), 344, "4s", b"n+9\0")
    refused(magic, "is a file of an unknown format")  # case 62


def test_files_that_are_cut_off(tmp_path):
    """Cases 57 to 59."""
    whole = write_nifti(tmp_path / "ct.nii.gz").read_bytes()
    (tmp_path / "half.nii.gz").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "half.nii.gz", "cannot be read as NIfTI")
    plain = write_nifti(tmp_path / "ct.nii").read_bytes()
    for name, size in (("cut", 60_000), ("header", 352), ("half header", 346)):
        (tmp_path / f"{name}.nii").write_bytes(plain[:size])
    refused(tmp_path / "cut.nii", r"is cut off \(truncated\): its header claims 136400 bytes")
    refused(tmp_path / "header.nii", "is cut off")
    refused(tmp_path / "half header.nii", "an unknown format")
    alone = tmp_path / "alone.hdr"
    nibabel.save(nibabel.Nifti1Pair(volume().astype(np.int16), axial_affine()), tmp_path / "alone.img")
    (tmp_path / "alone.img").unlink()
    refused(alone, "is a NIfTI header whose .img file is not there")


@pytest.mark.parametrize(
    ("dim", "words"),
    [
        pytest.param((3, 30000, 30000, 30000), "claims 30000 x 30000 x 30000 voxels, more than any", id="huge"),
        pytest.param((3, -5, 40, 31), "NIfTI|claims", id="negative"),
        pytest.param((0, 55, 40, 31), "has 1 dimensions", id="none"),
        pytest.param((3, 0, 40, 31), "claims 0 x 40 x 31 voxels, so there is no volume", id="empty axis"),
        pytest.param((3, 1000, 1000, 700), "is cut off", id="larger than its file"),
    ],
)
def test_sizes_are_checked_before_reading(tmp_path, dim, words):
    """Cases 63 and 64."""
    refused(patched(write_nifti(tmp_path / "ct.nii"), 40, "4h", *dim), words)


def test_a_gzip_bomb_is_refused_by_its_header(tmp_path):
    """Case 76: some KB that claim 2 GB."""
    header = bytearray(write_nifti(tmp_path / "ct.nii").read_bytes()[:352])
    struct.pack_into("<4h", header, 40, 3, 1000, 1000, 1000)
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(header) + b"\0" * 20_000_000))
    refused(tmp_path / "bomb.nii.gz", "is cut off")


def test_orientations_that_are_none(tmp_path):
    """Cases 65 to 67."""
    nibabel.save(nibabel.Nifti1Image(volume().astype(np.int16), None), tmp_path / "none.nii")
    refused(tmp_path / "none.nii", "states no orientation")
    for name, numbers in (("nan", [float("nan")] * 12), ("zero", [0.0] * 12)):
        path = write_nifti(tmp_path / f"{name}.nii", qform=0)
        refused(patched(path, 280, "12f", *numbers), "no usable axes")


def test_a_spacing_of_zero(tmp_path):
    """nibabel makes 1 mm of it, which the sform may say better."""
    zero = 80, "3f", 0, 0, 0
    refused(patched(write_nifti(tmp_path / "a.nii", sform=0), *zero), r"states a spacing of 0 \(pixdim\) and no sform")
    right(patched(write_nifti(tmp_path / "b.nii", qform=0), *zero))


def test_axes_of_one_are_dropped(tmp_path):
    """Case 72."""
    one = write_nifti(tmp_path / "one.nii", volume()[..., None])
    np.testing.assert_array_equal(right(one).volume_hu, volume())
    refused(write_nifti(tmp_path / "two.nii", np.stack([volume()] * 2, -1)), r"has 4 dimensions \(55 x 40 x 31 x 2\)")
    refused(write_nifti(tmp_path / "flat.nii", volume()[:, :, 9]), "has 2 dimensions")  # case 73
    refused(write_nifti(tmp_path / "slice.nii", volume()[:, :, :1]), "single slice|has 2 dimensions")


def test_values_that_are_no_hu(tmp_path):
    """Cases 69 to 71."""
    broken = volume()
    broken[0, 0, :2], broken[0, 1, 0] = np.nan, np.inf
    refused(write_nifti(tmp_path / "nan.nii", broken, dtype=np.float32), "3 voxels are not finite")
    refused(write_nifti(tmp_path / "complex.nii", dtype=np.complex64), "holds complex64 values, not HU")
    rgb = np.zeros(volume().shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, axial_affine()), tmp_path / "rgb.nii")
    refused(tmp_path / "rgb.nii", "holds RGB values, not HU")

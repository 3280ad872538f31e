"""MetaImage and NRRD: rows 22 and 23 of the public reports, cases 78 to 82."""

import gzip

import itk
import numpy as np
import pytest

from tests.readers.ct.ct_files import FIRST, axial_affine, refused, right, says, silent, volume

SPACING = (8.0, 8.0, 10.0)


def write_itk(path, hu=None, compress=False):
    """Write (X, Y, Z) HU with ITK, whose arrays are (z, y, x)."""
    hu = volume() if hu is None else hu
    image = itk.image_from_array(np.ascontiguousarray(hu.astype(np.int16).transpose(2, 1, 0)))
    image.SetSpacing(SPACING)
    image.SetOrigin(FIRST.tolist())
    itk.imwrite(image, str(path), compression=compress)
    return path


NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "55 40 31",
    "space directions": "(8,0,0) (0,8,0) (0,0,10)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-215.63,-156.29,-149.84)",
}


def write_nrrd(path, data=None, **fields):
    """Write NRRD by hand; a field that is None is left out, and _ stands for a space in its name."""
    filled = NRRD | {name.replace("_", " "): value for name, value in fields.items()}
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in filled.items() if value is not None), "", ""]
    voxels = volume().astype("<i2").tobytes(order="F") if data is None else data
    path.write_bytes("\n".join(lines).encode() + voxels)
    return path


META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-215.63 -156.29 -149.84",
    "ElementSpacing": "8 8 10",
    "DimSize": "55 40 31",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def write_meta(path, data=None, **fields):
    """Write MetaImage by hand; a field that is None is left out."""
    filled = META | fields
    filled["ElementDataFile"] = filled.pop("ElementDataFile")  # the last one
    text = "".join(f"{name} = {value}\n" for name, value in filled.items() if value is not None)
    path.write_bytes(text.encode() + (volume().astype("<i2").tobytes(order="F") if data is None else data))
    return path


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["ct.mha", "ct.mhd", "ct.nrrd", "ct.nhdr"])
def test_what_itk_writes(tmp_path, name, compress):
    scan = right(write_itk(tmp_path / name, compress=compress))
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, volume())
    np.testing.assert_allclose(scan.affine, axial_affine(), atol=1e-5)


@pytest.mark.parametrize("write", [write_nrrd, write_meta])
def test_what_is_written_by_hand(tmp_path, write):
    path = write(tmp_path / "a name without suffix")
    scan = right(path)
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, volume())
    np.testing.assert_allclose(scan.affine, axial_affine(), atol=1e-5)


@pytest.mark.parametrize(
    ("space", "directions", "origin"),
    [
        ("right-anterior-superior", "(-8,0,0) (0,-8,0) (0,0,10)", "(215.63,156.29,-149.84)"),
        ("left-anterior-superior", "(8,0,0) (0,-8,0) (0,0,10)", "(-215.63,156.29,-149.84)"),
        ("LPS", "(8,0,0) (0,8,0) (0,0,10)", "(-215.63,-156.29,-149.84)"),
    ],
)
def test_any_space_of_nrrd(tmp_path, space, directions, origin):
    """Row 22."""
    right(write_nrrd(tmp_path / "ct.nrrd", space=space, space_directions=directions, space_origin=origin))


def test_a_flipped_meta_image(tmp_path):
    """LUNA holds such files: rows run to the patient's right and columns to the front."""
    flipped = volume()[::-1, ::-1].astype("<i2").tobytes(order="F")
    last = f"{FIRST[0] + 54 * 8} {FIRST[1] + 39 * 8} {FIRST[2]}"
    right(write_meta(tmp_path / "ct.mha", flipped, TransformMatrix="-1 0 0 0 -1 0 0 0 1", Offset=last))


def test_values_beyond_a_ct_are_clipped(tmp_path):
    hu = volume()
    hu[0, 0, 0], hu[1, 0, 0] = -3024, 20000
    scan = right(write_itk(tmp_path / "ct.mha", hu), share=1)
    assert (scan.volume_hu.min(), scan.volume_hu.max()) == (-1024, 3071)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"sizes": None}, "states no size", id="no size"),
        pytest.param({"sizes": "55 40"}, "has 2 dimensions", id="sizes mismatch"),
        pytest.param({"sizes": "60000 60000 60000"}, "claims 60000 x 60000 x 60000 voxels", id="huge"),
        pytest.param({"sizes": "55 40 0"}, "so there is no volume", id="empty axis"),
        pytest.param({"sizes": "3 55 40 31", "dimension": "4"}, "has 4 dimensions", id="vectors"),
        pytest.param({"type": None}, "states no type of voxels", id="no type"),
        pytest.param({"type": "block"}, "states no type of voxels", id="another type"),
        pytest.param({"encoding": "morse"}, "cannot be read as NRRD", id="bad encoding"),
        pytest.param({"encoding": "gzip"}, "cut off .* or damaged: 0 bytes", id="no gzip"),
        pytest.param({"space": None}, "does not say how the volume lies", id="no space"),
        pytest.param({"space_directions": None}, "does not say how the volume lies", id="no directions"),
        pytest.param({"space_directions": "none none none"}, "does not say how the volume lies", id="none"),
        pytest.param({"space_directions": "(8,0,0) (0,8,0) none"}, "does not say how the volume lies", id="one none"),
        pytest.param({"space_directions": "(0,0,0) (0,8,0) (0,0,10)"}, "are no usable axes", id="zero"),
        pytest.param({"space_directions": "(nan,0,0) (0,8,0) (0,0,10)"}, "are no usable axes", id="NaN"),
        pytest.param({"data_file": "../../etc/passwd"}, "points to voxels in another folder", id="elsewhere"),
        pytest.param({"data_file": "/etc/passwd"}, "points to voxels in another folder", id="absolute"),
        pytest.param({"data_file": "absent.raw"}, "the file of its voxels, absent.raw, is not there", id="absent"),
        pytest.param({"data_file": "LIST"}, "lie in several files", id="list"),
        pytest.param({"data_file": "slice%03d.raw 1 31 1"}, "lie in several files", id="pattern"),
    ],
)
def test_nrrd_that_is_refused(tmp_path, fields, words):
    refused(write_nrrd(tmp_path / "ct.nrrd", **fields), words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"DimSize": None}, "states no size", id="no size"),
        pytest.param({"DimSize": "60000 60000 60000"}, "claims 60000 x 60000 x 60000 voxels", id="huge"),
        pytest.param({"DimSize": "55 40"}, "has 2 dimensions", id="sizes mismatch"),
        pytest.param({"ElementType": None}, "states no type of voxels", id="no type"),
        pytest.param({"ElementSpacing": None}, "states no ElementSpacing", id="no spacing"),
        pytest.param({"ElementSpacing": "0 8 10"}, "usable axes|too little|MetaImage", id="zero spacing"),
        pytest.param({"ElementNumberOfChannels": "3"}, "several channels", id="channels"),
        pytest.param({"TransformMatrix": "0 0 0 0 1 0 0 0 1"}, "usable axes|cannot be read", id="zero axis"),
        pytest.param({"ElementDataFile": "../ct.raw"}, "points to voxels in another folder", id="elsewhere"),
        pytest.param({"ElementDataFile": "absent.raw"}, "absent.raw, is not there", id="absent"),
        pytest.param({"ElementDataFile": "LIST"}, "lie in several files", id="list"),
        pytest.param({"CompressedData": "True"}, "cut off .* or damaged: 0 bytes", id="not compressed"),
    ],
)
def test_meta_image_that_is_refused(tmp_path, fields, words):
    refused(write_meta(tmp_path / "ct.mha", **fields), words)


def test_axes_that_are_not_stated_are_assumed(tmp_path):
    scan = right(write_meta(tmp_path / "ct.mha", TransformMatrix=None))
    says(scan, "assumed", "orientation", "no axes are stated")


def test_files_that_are_cut_off(tmp_path):
    for write, name in ((write_nrrd, "ct.nrrd"), (write_meta, "ct.mha")):
        path = write(tmp_path / name)
        path.write_bytes(path.read_bytes()[:-1000])
        refused(path, r"is cut off \(truncated\) or damaged: 135400 bytes of voxels are there, 136400 are needed")
    for name in ("gz.nrrd", "z.mha"):
        path = write_itk(tmp_path / name, compress=True)
        path.write_bytes(path.read_bytes()[:-3000])
        refused(path, "is cut off")
    damaged = write_nrrd(
        tmp_path / "damaged.nrrd",
        gzip.compress(volume().astype("<i2").tobytes(), 1)[:-9000] + b"1" * 9000,
        encoding="gzip",
    )
    refused(damaged, "or damaged")
    (tmp_path / "magic.nrrd").write_bytes(b"NRRX0004\n" + b"\0" * 99)
    refused(tmp_path / "magic.nrrd", "is a file of an unknown format|is a NRRD file")
    (tmp_path / "empty.nrrd").write_bytes(b"")
    refused(tmp_path / "empty.nrrd", "is an empty file")
    (tmp_path / "text.mha").write_text("no image")
    refused(tmp_path / "text.mha", "is a text file, which is not read as a CT")

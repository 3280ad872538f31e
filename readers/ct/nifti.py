"""Read a CT in NIfTI format."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError

from ..record import DecisionRecord
from .checks import check_size, plausible_extent
from .scan import Scan, finish_scan
from .slices import SliceStack

nibabel, has_nibabel = optional_import("nibabel")

UNITS = {1: ("metre", 1e3), 2: ("mm", 1.0), 3: ("micron", 1e-3)}
"""Code of the unit of length, the low three bits of xyzt_units -> name, mm."""

MAX_QUATERNION = 1e-4
"""Largest excess over 1 of the length of a quaternion that is taken for rounding; float32 alone gives 1e-7."""

MAX_APART_MM = 1.0
"""Largest distance between the places of a corner by qform and sform that is rounding."""

MAX_TURNED = np.cos(np.radians(30))
"""Smallest cosine between an axis by qform and by sform; a registration may have turned the sform a little."""

MAX_GZIP = 1032
"""Largest ratio that gzip reaches."""


def read_nifti_ct(file: Path, record: DecisionRecord) -> Scan:
    """Read a CT from a NIfTI file, compressed or not.

    Args:
        file: NIfTI-1 or NIfTI-2, or the header of a pair.
        record: takes the decisions.

    Returns:
        The CT.

    Raises:
        InputError: where the file is cut off or damaged, not 3-D, not finite, without orientation or not in HU.
    """
    if not has_nibabel:
        raise InputError(f"{file}: reading NIfTI needs the package nibabel; install it")
    try:
        header = _read_header(file)
        shape = _shape(file, header)
        voxels = _read_voxels(file, header, shape)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: cannot be read as NIfTI ({reason}); export the CT again") from error
    affine = _in_mm(header, _affine(file, header, shape, record), shape, record)
    return finish_scan(file, voxels, affine, record)


def _open(file: Path) -> Any:
    """Open a file, unpacking it if its content is gzip, whatever its name."""
    with file.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(file) if packed else file.open("rb")


def _read_header(file: Path) -> Any:
    """Return the header, with a quaternion that rounding made longer than 1 set to 1."""
    with _open(file) as stream:
        kind = nibabel.Nifti2Header if stream.read(8)[4:7] in (b"n+2", b"ni2") else nibabel.Nifti1Header
        stream.seek(0)
        header = kind.from_fileobj(stream, check=False)
    if not header["pixdim"][1:4].all() and not header["sform_code"]:
        raise InputError(f"{file}: states a spacing of 0 (pixdim) and no sform; export it again with its spacing")
    header.check_fix()  # which makes 1 of a spacing of 0
    parts = ("quatern_b", "quatern_c", "quatern_d")
    length = float(np.sqrt(sum(float(header[part]) ** 2 for part in parts)))
    if 1 < length < 1 + MAX_QUATERNION:
        for part in parts:
            header[part] = np.nextafter(np.float32(header[part] / length), np.float32(0))
    return header


def _shape(file: Path, header: Any) -> tuple[int, ...]:
    """Return the 3-D shape that a header states, and refuse anything else before it is read."""
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    check_size(file, shape)
    dtype = header.get_data_dtype()
    if dtype.fields or dtype.kind not in "iuf":
        raise InputError(f"{file}: holds {header.get_value_label('datatype')} values, not HU; export one grey volume")
    if not header["qform_code"] and not header["sform_code"]:
        raise InputError(f"{file}: states no orientation (qform and sform code 0); export it with its orientation")
    return shape


def _read_voxels(file: Path, header: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return (X, Y, Z) of a header's data, scaled by its slope and intercept, read slice by slice."""
    data = file
    if header["magic"].item().startswith(b"ni"):
        data = next((f for s in (".img", ".img.gz", ".IMG") if (f := file.with_suffix(s)).is_file()), file)
        if data == file:
            raise InputError(f"{file}: is a NIfTI header whose .img file is not there; give both, or one .nii file")
    dtype, (slope, intercept) = header.get_data_dtype(), header.get_slope_inter()
    each = shape[0] * shape[1] * dtype.itemsize
    needed = each * shape[2]
    stack = SliceStack(shape[::-1])
    with _open(data) as stream:
        factor = MAX_GZIP if isinstance(stream, gzip.GzipFile) else 1
        if data.stat().st_size * factor < needed:
            raise _cut_off(file, needed)
        stream.seek(header.get_data_offset())
        for _ in range(shape[2]):
            stored = stream.read(each)
            if len(stored) < each:
                raise _cut_off(file, needed)
            values = np.frombuffer(stored, dtype).reshape(shape[1::-1]).astype(np.float32)
            if slope is not None:
                values *= np.float32(slope)
                values += np.float32(intercept)
            stack.add(values)
    return stack.volume()


def _cut_off(file: Path, needed: int) -> InputError:
    return InputError(f"{file}: is cut off (truncated): its header claims {needed} bytes; export it again")


def _affine(file: Path, header: Any, shape: tuple[int, ...], record: DecisionRecord) -> np.ndarray:
    """Return the affine as stated, by the sform where both are there, and refuse two that contradict each other."""
    try:
        sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    except Exception as error:  # nibabel raises whatever the broken numbers happen to cause
        raise InputError(f"{file}: its orientation (qform) is damaged; export it again") from error
    if sform is None or qform is None:
        return np.asarray(qform if sform is None else sform, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0) for affine in (sform, qform))
    if np.isfinite(sform).all() and (first * second).sum(0).min() < MAX_TURNED:
        raise InputError(
            f"{file}: its qform and sform contradict each other about the directions of its axes, so left and right or "
            "head and feet may be exchanged; export it with one orientation"
        )
    corners = np.stack(np.meshgrid(*([0, n - 1] for n in shape), indexing="ij")).reshape(3, -1)
    apart = np.linalg.norm((sform - qform)[:3, :3] @ corners + (sform - qform)[:3, 3:], axis=0).max()
    if apart > MAX_APART_MM:
        record.doubt("orientation", f"qform and sform lie up to {apart:.1f} apart; the sform is taken")
    return np.asarray(sform, dtype=np.float64)


def _in_mm(header: Any, affine: np.ndarray, shape: tuple[int, ...], record: DecisionRecord) -> np.ndarray:
    """Bring an affine to mm by the unit of the header, unless only mm give the size of a patient."""
    code = int(header["xyzt_units"]) & 7
    name, factor = UNITS.get(code, ("unknown", 1.0))
    if name == "unknown":
        record.assumed("unit", "the unit of the spacing is not stated; mm are assumed")
    if factor == 1:
        return affine
    scaled = np.diag([factor, factor, factor, 1]) @ affine
    if not plausible_extent(scaled, shape) and plausible_extent(affine, shape):
        record.doubt("unit", f"the header says {name}, but only mm give the size of a patient; mm are taken")
        return affine
    record.found("unit", f"the spacing is in {name} and becomes mm")
    return scaled

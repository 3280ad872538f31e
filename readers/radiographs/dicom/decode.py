"""Decode compressed DICOM pixels in a process of its own: `python decode.py FILE.dcm OUT.npy DECODER...`.

Decoders are native code, and some end the whole process on a damaged stream (GDCM does so on JPEG 2000). `pixels.py`
runs them here, in a child that may die. It imports nothing of this project.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Sequence

import numpy as np

NO_DECODER = 3
"""Exit status if no installed decoder knows the transfer syntax; 1 if one does but failed."""

MAX_MEMORY = 6 * 2**30
"""Address space of this process in bytes, where the system can limit it."""


def by_pydicom(path: str) -> np.ndarray | None:
    """Decode with pydicom's plugins, python-gdcm among them.

    Args:
        path: a DICOM file.

    Returns:
        (rows, columns), as stored; None where no plugin knows the transfer syntax.
    """
    import pydicom

    dataset = pydicom.dcmread(path)
    uid = dataset.file_meta.TransferSyntaxUID
    if hasattr(pydicom, "pixels"):  # pydicom 3
        try:
            able = pydicom.pixels.get_decoder(uid).is_available
        except NotImplementedError:
            able = False
    else:
        handlers = pydicom.config.pixel_data_handlers
        able = any(handler.is_available() and handler.supports_transfer_syntax(uid) for handler in handlers)
    return dataset.pixel_array if able else None


def by_itk(path: str) -> np.ndarray | None:
    """Decode with ITK, which itself inverts MONOCHROME1 and rescales.

    Args:
        path: a DICOM file, MONOCHROME2 and without rescale.

    Returns:
        (1, rows, columns), as stored; None where ITK is not installed.
    """
    if importlib.util.find_spec("itk") is None:
        return None
    import itk

    return itk.array_from_image(itk.imread(path))


DECODERS = {"pydicom": by_pydicom, "itk": by_itk}


def main(path: str, output: str, names: Sequence[str]) -> int:
    """Write the pixels from the first decoder that succeeds.

    Args:
        path: a DICOM file.
        output: .npy file to write.
        names: keys of `DECODERS`, in the order in which they are tried.

    Returns:
        The exit status: 0, 1 or `NO_DECODER`.
    """
    status = NO_DECODER
    for name in names:
        try:
            values = DECODERS[name](path)
        except Exception:  # decoders raise whatever the broken bytes happen to cause; the status says so
            status = 1
            continue
        if values is not None:
            np.save(output, values)
            return 0
    return status


if __name__ == "__main__":
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))

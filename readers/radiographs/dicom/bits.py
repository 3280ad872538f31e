"""Find how many bits of a stored pixel are its number, where more are set than the header says (PS3.5 8.1.1)."""

from __future__ import annotations

import numpy as np

from .header import OVERLAY_BITS, Header

WRAP, SURE_WRAP = 0.3, 0.6
"""Mean step of the stored bits, as a share of their range, where the bits above change by one: nearly 1 in a smooth
number, whose lower bits begin again at 0 there, nearly 0 where an overlay lies above them. The second counts where no
pixel by itself contradicts the header."""


def number_of_bits(header: Header, words: np.ndarray, stored: int, width: int, shift: int) -> int:
    """Compare the bits that are set with BitsStored (0028,0101).

    Bits above those stored may be an overlay plane (retired in 2004), the sign or padding. Otherwise they belong to the
    number, which is read with them.

    Args:
        header: tags of the film; takes a doubt.
        words: (rows, columns) unsigned integers below 2 ** width, the lowest stored bit at bit 0.
        stored: number of bits by the header.
        width: number of bits of a word.
        shift: number of bits below those of `words` in the file, for the places of overlays.

    Returns:
        The number of bits to read.
    """
    overlays = sum(1 << place for bit in _overlay_bits(header) if stored <= (place := bit - shift) < width)
    plain, full = words & ~overlays, (1 << width) - 1
    signed, padding = header.number("PixelRepresentation") == 1, header.number("PixelPaddingValue")
    shown = np.ones(words.shape, bool) if padding is None else words != int(padding) >> shift & full
    above = plain >> stored
    against = (above > 0) & shown
    if not against.any():
        return stored
    if signed:
        negative = plain >> stored - 1 & 1 == 1
        against &= ~negative | (above != full >> stored)
        plain = (plain + (1 << stored - 1)) & full  # offset binary, in which a sign sets no bit above
        above = plain >> stored
    beyond = (above > 0) & shown
    step = _mean_step(plain, stored, width)
    if not beyond.any() or (step < SURE_WRAP and not against.any()):
        return stored
    share = f"{beyond.mean():.1%} of the pixels have bits set above HighBit"
    if step < WRAP:
        header.record.doubt("bits", f"{share}, which look like an overlay that no tag states; they are left out")
        return stored
    there = width if signed else stored + int(above[beyond].max()).bit_length()
    header.record.doubt("bits", f"{share}, which no overlay explains; {there} bits are read, not {stored}")
    return there


def numbers(words: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Return the number that the lowest bits of each word hold, in two's complement where it is signed."""
    kept = words & (1 << bits) - 1
    return np.where(kept >= 1 << bits - 1, kept - (1 << bits), kept) if signed else kept


def _overlay_bits(header: Header) -> list[int]:
    """Return the bits of a word in which overlay planes lie by the tags."""
    texts = (header.element_text(tag) for tag in OVERLAY_BITS)
    return [int(text) for text in texts if text.isdigit()]


def _mean_step(words: np.ndarray, stored: int, width: int) -> float:
    """Return the mean step of the stored bits where those above change by one, as a share of their range; else 0."""
    steps, count, last = 0, 0, (1 << width - stored) - 1
    for axis in (0, 1):
        above, below = (np.abs(np.diff(part, axis=axis)) for part in (words >> stored, words & (1 << stored) - 1))
        changed = (above == 1) | (above == last)  # the highest number and the lowest one follow each other
        steps += int(below[changed].sum())
        count += int(changed.sum())
    return steps / (count * 2**stored) if count else 0.0

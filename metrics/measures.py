"""Say what each figure of an evaluation is: its protocol, unit, range and region."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from conventions import HU_WINDOW

from .clinical.alignment import MOTION_MEASURES
from .clinical.cardiothoracic import CARDIOTHORACIC_MEASURES
from .clinical.centre_lines import CENTRE_LINE_MEASURES
from .clinical.given_masks import MASK_MEASURES
from .clinical.lungs import LUNG_MEASURES
from .clinical.nodules import NODULE_MEASURES
from .clinical.overlap import OVERLAP_MEASURES
from .hounsfield_errors import HU_ERRORS
from .image_quality import NARROW_WINDOW
from .paper import PAPER_MEASURES, PAPER_PEAK
from .synthrad import SYNTHRAD_MEASURES, SYNTHRAD_RANGE

PROTOCOLS = {
    "x2ct-bundle": "1",
    "paper": "1",
    "synthrad2025": "1",
    "clinical": "1",
    "nodules": "1",
    "films": "1",
    "masks": "1",
}
"""Protocol -> version; figures of different protocols or versions never share a column."""

ORGANS = ("lung", "body", "bone")
"""Organs whose masks are compared."""

FILM_MEASURES = (
    "film_psnr_db",
    "film_drr_psnr_db",
    "film_gap_db",
    "film_lung_dice",
    "film_lung_total_ml_error",
    "film_lung_total_ml_gap",
    "film_cardiothoracic_ratio_error",
    "film_cardiothoracic_ratio_gap",
    *(f"film_{name}" for name in MOTION_MEASURES),
    "film_days",
)
"""Names of what is measured where real films of the patient are at hand: an error is from the films less true, a gap is
from the films less from the CT's own DRRs, except for that in dB, which is what the films cost."""

WIDTH_OF_WINDOW = "the width of the window to which the volumes were clipped"
"""Data range of figures whose peak follows the window of the run."""


@dataclass(frozen=True)
class Measure:
    """What one figure is."""

    protocol: str
    """A key of `PROTOCOLS`."""
    unit: str
    """"dB", "HU", "HU^2", "mm", "ml", "deg", "days", or "1" for a share or an index."""
    region: str
    """Where it is measured: "cube", "body", a tissue, an organ, or "radiograph"."""
    better: Literal["higher", "lower", "zero"]
    """Which values are good; "zero" for a signed error."""
    data_range: str = ""
    """Peak or range that it rests on; empty where it needs none."""

    def record(self) -> dict[str, Any]:
        """Return the measure as plain data for JSON, with the version of its protocol."""
        return {**asdict(self), "version": PROTOCOLS[self.protocol]}


def _unit(name: str) -> str:
    endings = {"psnr": "dB", "db": "dB", "hu": "HU", "mae": "HU", "mm": "mm", "ml": "ml", "deg": "deg", "days": "days"}
    words = name.split("_")
    if "mse" in words:
        return "HU^2"
    return next((unit for word, unit in endings.items() if word in words), "1")


def _measures() -> dict[str, Measure]:
    found = {
        "psnr_db": Measure("x2ct-bundle", "dB", "cube", "higher", WIDTH_OF_WINDOW),
        "ssim": Measure("x2ct-bundle", "1", "cube", "higher", WIDTH_OF_WINDOW),
    }
    low, high = NARROW_WINDOW
    found["psnr_2048_db"] = Measure("x2ct-bundle", "dB", "cube", "higher", f"{low:.0f} to {high:.0f} HU")
    for name in HU_ERRORS:
        tissue = name.removesuffix("_hu").removesuffix("mae").removesuffix("rmse").strip("_")
        found[name] = Measure("x2ct-bundle", "HU", tissue or "cube", "lower")
    low, high = HU_WINDOW
    for name in PAPER_MEASURES:
        errors = "mae" in name or "mse" in name
        peak = f"peak {PAPER_PEAK:.0f} on {high - low:.0f} HU" if "psnr" in name else f"{low:.0f} to {high:.0f} HU"
        found[name] = Measure("paper", _unit(name), "cube", "lower" if errors else "higher", peak)
    for name in SYNTHRAD_MEASURES:
        better: Literal["higher", "lower"] = "lower" if name.endswith("mae") else "higher"
        limits = "" if name.endswith("mae") else f"{SYNTHRAD_RANGE[0]:.0f} to {SYNTHRAD_RANGE[1]:.0f} HU"
        found[name] = Measure("synthrad2025", _unit(name), "body", better, limits)
    for organ in ORGANS:
        for name in OVERLAP_MEASURES:
            lower: Literal["higher", "lower"] = "lower" if name == "hd95_mm" else "higher"
            found[f"{organ}_{name}"] = Measure("clinical", _unit(name), organ, lower)
    for name in LUNG_MEASURES:
        found[f"{name}_error"] = Measure("clinical", "ml", "lung", "zero")
    for name in CARDIOTHORACIC_MEASURES:
        found[f"{name}_error"] = Measure("clinical", _unit(name), "radiograph", "zero")
    for name in CENTRE_LINE_MEASURES:
        found[name] = Measure("clinical", "mm", "bone", "lower")
    found["reprojection_shown"] = Measure("clinical", "1", "radiograph", "lower")
    found["reprojection_oblique"] = Measure("clinical", "1", "radiograph", "lower")
    found["false_structure"] = Measure("clinical", "1", "body", "lower")
    for name in NODULE_MEASURES:
        found[name] = Measure("nodules", "1", "lung" if name.endswith("kept") else "radiograph", "higher")
    return {**found, **_film_measures(), **_mask_measures()}


def _film_measures() -> dict[str, Measure]:
    found = {}
    for name in FILM_MEASURES:
        region = "lung" if "lung" in name else "radiograph" if "cardiothoracic" in name else "cube"
        region = "motion" if "shift" in name or "turn" in name else "films" if name == "film_days" else region
        better: Literal["higher", "lower", "zero"] = "higher" if name.endswith(("psnr_db", "dice")) else "zero"
        found[name] = Measure("films", _unit(name), region, better, WIDTH_OF_WINDOW if "_db" in name else "")
    return {**found, "film_gap_db": Measure("films", "dB", "cube", "lower", WIDTH_OF_WINDOW)}


def _mask_measures() -> dict[str, Measure]:
    found = {}
    for name in MASK_MEASURES:
        better: Literal["higher", "lower", "zero"] = "higher" if name.endswith(("dice", "nsd")) else "lower"
        better = "zero" if name.endswith("_error") else better
        region = "radiograph" if "width" in name else name.removeprefix("mask_").rsplit("_", 1)[0]
        found[name] = Measure("masks", _unit(name), region.removesuffix("_hd95").removesuffix("_ml"), better)
    return found


MEASURES = _measures()
"""Name of a figure -> what it is."""

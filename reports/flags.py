"""Expose an evaluation whose averages mislead: a model that ignores its input, mirrors it or copies another body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from conventions import Keys
from metrics import MEASURES, Interval

from .evaluation_record import PREDICTION, EvaluationRecord, interval_or_none
from .volume_checks import VolumeFindings

COPY_STRENGTH = 0.75
"""Strength of details above which they are no blurred image of the truth, as a regression makes it."""

COPY_CORRELATION = 0.5
"""Correlation as a share of the strength below which details are not those of the patient. Where a model shows what it
knows and no more, the two are equal. Copies of another phantom have a share of 0 to 0.2, blurred truths above 1."""

MOST_FAULTS = 5
"""Number of faults that a check names."""


NAMING = ("each case measured", "volumes complete and sound")
"""Checks whose flags name cases."""


@dataclass(frozen=True)
class Check:
    """One question to an evaluation, and its answer."""

    name: str
    """The question."""
    state: Literal["flag", "passed", "not checked"]
    """A flag is a reason not to trust the averages."""
    words: str
    """The answer with its figures."""


def check_evaluation(record: EvaluationRecord, volumes: VolumeFindings) -> list[Check]:
    """Ask an evaluation what its averages do not say.

    Args:
        record: the evaluation.
        volumes: what its volumes show.
    """
    return [
        _enough_patients(record),
        _all_measured(record),
        _volumes_sound(record, volumes),
        _better_than_mean(record),
        _reads_input(record),
        _agrees_with_films(record),
        _not_mirrored(volumes),
        _own_details(volumes),
    ]


def _enough_patients(record: EvaluationRecord) -> Check:
    name, patients = "more than one patient", len(set(record.patients))
    words = f"{len(record.cases)} cases of {patients} patients"
    if patients > 1:
        return Check(name, "passed", words)
    words = "one case alone" if len(record.cases) == 1 else "all cases are of one patient"
    return Check(name, "flag", f"{words}: there are no intervals, and nothing here says how others would fare")


def _all_measured(record: EvaluationRecord) -> Check:
    name = NAMING[0]
    if not record.has("psnr_db"):
        return Check(name, "not checked", "PSNR was not taken")
    lost = [
        case
        for case, value in zip(record.cases, record.columns["psnr_db", PREDICTION], strict=True)
        if not np.isfinite(value)
    ]
    if lost:
        return Check(name, "flag", f"no PSNR of {', '.join(lost)}: the volume is not finite, or equals the truth")
    return Check(name, "passed", "PSNR of all cases")


def _volumes_sound(record: EvaluationRecord, volumes: VolumeFindings) -> Check:
    name = NAMING[1]
    if not volumes.kept:
        return Check(name, "not checked", "this evaluation kept no volumes")
    if volumes.faults:
        more = len(volumes.faults) - MOST_FAULTS
        words = "; ".join(volumes.faults[:MOST_FAULTS]).replace(f"{record.folder}/", "")
        return Check(name, "flag", words + (f"; and {more} more" if more > 0 else ""))
    return Check(name, "passed", f"prediction and truth of {len(volumes.rms_hu)} cases")


def _better_than_mean(record: EvaluationRecord) -> Check:
    name = "better than the mean training volume"
    words = "PSNR is {} above that of a model that always gives this volume"
    return _against(record, name, "psnr_db", Keys.MEAN_VOLUME, words, "+.2f", "dB")


def _reads_input(record: EvaluationRecord) -> Check:
    words = "another case's radiographs cost {}"
    return _against(record, "reads its radiographs", "psnr_db", Keys.SHUFFLED_INPUT, words, "+.2f", "dB")


def _agrees_with_films(record: EvaluationRecord) -> Check:
    name = "agrees with the radiographs it was shown"
    words = "re-projection error is {} beside that of the mean training volume"
    return _against(record, name, "reprojection_shown", Keys.MEAN_VOLUME, words, "+.3f")


def _against(
    record: EvaluationRecord, name: str, measure: str, control: str, words: str, form: str, unit: str = ""
) -> Check:
    """Check that the whole interval of the difference from a control lies on the better side of 0."""
    difference = _difference(record, measure, control)
    if difference is None:
        return Check(name, "not checked", _why_not(record, measure, control))
    better = difference.low > 0 if MEASURES[measure].better == "higher" else difference.high < 0
    return Check(name, "passed" if better else "flag", words.format(_ends(difference, form, unit)))


def _not_mirrored(volumes: VolumeFindings) -> Check:
    name = "left is left"
    if not volumes.rms_hu:
        return Check(name, "not checked", "there are no volumes to mirror")
    error, mirrored = float(np.mean(volumes.rms_hu)), float(np.mean(volumes.mirrored_rms_hu))
    words = f"RMS error {error:.0f} HU, {mirrored:.0f} HU with the prediction mirrored left to right"
    return Check(name, "flag" if mirrored < error else "passed", words)


def _own_details(volumes: VolumeFindings) -> Check:
    name = "details of this patient"
    if not np.isfinite(volumes.detail_strength).any():
        return Check(name, "not checked", "there are no volumes to compare")
    strength = float(np.nanmean(volumes.detail_strength))
    correlation = float(np.nanmean(volumes.detail_correlation))
    words = (
        f"details are {100 * strength:.0f} % as strong as the true ones and correlate with them by {correlation:.2f}"
    )
    if strength >= COPY_STRENGTH and correlation < COPY_CORRELATION * strength:
        return Check(name, "flag", words + ": they are those of another body, as in a copy of a training case")
    return Check(name, "passed", words)


def _difference(record: EvaluationRecord, measure: str, control: str) -> Interval | None:
    """Compute by how much the prediction lies above a control; None where there is no interval."""
    if not record.has(measure, control):
        return None
    pairs = zip(record.columns[measure, PREDICTION], record.columns[measure, control], strict=True)
    return interval_or_none([own - other for own, other in pairs], record.patients)


def _why_not(record: EvaluationRecord, measure: str, control: str) -> str:
    return "fewer than two patients have both" if record.has(measure, control) else "the control was not measured"


def _ends(interval: Interval, form: str, unit: str) -> str:
    low, high = format(interval.low, form), format(interval.high, form)
    return f"{format(interval.mean, form)} {unit}".rstrip() + f" (95 % interval {low} to {high})"

"""Say what the figures of an evaluation are, and which published figure each may be set beside."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from .evaluation_record import EvaluationRecord
from .page import table

PROTOCOL_WORDS = {
    "x2ct-bundle": (
        "PSNR of the whole volume at a peak that is the width of the HU window (2500 HU unless it was changed), SSIM "
        "in 3-D with a window of 7 voxels on unit values, errors in HU. <tissue>_mae_hu is over the voxels whose true "
        "HU lies in the tissue's band.",
        "A volume PSNR at the same peak, cube and data, such as PSNR3D of the PSCT-Net paper (arXiv 2606.19867, LIDC-"
        "IDRI at 128^3: X2CT-GAN 21.64 dB, PSCT-Net 22.14 dB). Not a mean over slices, about 4.4 dB higher there, and "
        "not a PSNR on a window of 2048 HU.",
    ),
    "paper": (
        "As the authors of X2CT-GAN compute it: peak 4095 on data of 2500 HU (+4.29 dB), means over 2-D slices, a "
        "slice without error counts as 100 dB; paper_psnr_3d is of the whole volume at that peak.",
        "Only figures computed by the authors' test script. The 26.19 dB and 0.656 of the paper (CVPR 2019) do not say "
        "by which average; a figure at peak 2500 or of another split is no match.",
    ),
    "synthrad2025": (
        "As the code of the SynthRAD2025 challenge computes it: inside the body, clipped to -1024 to 3000 HU.",
        "Its tables hold CTs made from MR and cone-beam CT, not from radiographs: a scale, no rivals.",
    ),
    "clinical": (
        "Organs found in prediction and truth by the same thresholds; <name>_error is predicted less true. "
        "reprojection_... is the error of line integrals as a share of the true ones, shown for the views that the "
        "network had and oblique for one that it had not; false_structure is the share of patches whose structures of "
        "5 voxels are not those of the truth.",
        "Lung volume by direct regression from PA and lateral films: mean absolute error 408 ml, 8.1 % (Sogancioglu "
        "2022, 291 patients, against pulmonary function tests).",
    ),
}
"""Protocol -> how its figures are computed, and what they may be set beside."""


def definitions(record: EvaluationRecord) -> str:
    """Return the box that defines each figure of an evaluation.

    Args:
        record: the evaluation; what each figure is comes from it.
    """
    made = ""
    for protocol in protocols(record.measures):
        names = record.of_protocol(protocol)
        words, beside = PROTOCOL_WORDS.get(protocol, ("", ""))
        rows = [[name, *(str(record.measures[name][key]) for key in COLUMNS)] for name in names]
        made += (
            f"<h3>{html.escape(title_of(protocol, record.measures))}</h3>\n<p>{html.escape(words)}</p>\n"
            f"<p><b>May be set beside:</b> {html.escape(beside)}</p>\n"
            f"<details><summary>{len(names)} measures</summary>"
            f"{table(['measure', *COLUMNS.values()], rows)}</details>\n"
        )
    return f"<h2>How each figure is defined</h2>\n{made}"


COLUMNS = {"unit": "unit", "region": "region", "data_range": "peak or range", "better": "better"}
"""Entry of a measure's record -> title of its column."""


def protocols(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the protocols of measures, each once, in the order of the measures."""
    return list(dict.fromkeys(what["protocol"] for what in measures.values()))


def title_of(protocol: str, measures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of a protocol with its version."""
    version = next(what["version"] for what in measures.values() if what["protocol"] == protocol)
    return f"Protocol {protocol}, version {version}"

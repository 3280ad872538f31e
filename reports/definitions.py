"""Say what the figures of an evaluation are, and which published figure each may be set beside."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from metrics import CROSSING_LEVEL, FALSE_BELOW

from .evaluation_record import EvaluationRecord
from .flags import COPY_CORRELATION, COPY_STRENGTH
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
        "spine_distance_mm is the mean distance of the centre lines of the spine within axial slices, ribs_distance_mm "
        "that of the skeletons of all other bone, of which missing ribs are a part. "
        "reprojection_... is the error of line integrals as a share of the true ones, shown for the views that the "
        "network had and oblique for one that it had not; false_structure is the share of patches whose structures of "
        "5 voxels are not those of the truth.",
        "Lung volume by direct regression from PA and lateral films: mean absolute error 408 ml, 8.1 % (Sogancioglu "
        "2022, 291 patients, against pulmonary function tests).",
    ),
    "nodules": (
        "Spheres of 40 HU planted in the lungs of the true CT: kept is what is left of their contrast in the "
        "prediction by a matched filter, shadow what each changes in the radiograph that shows it best.",
        "No published figure: what DVG-Diffusion is said to keep was measured by another observer.",
    ),
    "films": (
        "Predictions from real films of the same patients and from the DRRs of their CTs, each moved rigidly so that "
        "its lungs lie on the true ones, and measured where both lie in the cube. A gap in dB is from DRRs less from "
        "films, any other from films less from DRRs. shift and turn are the motion of the prediction from films, about "
        "the middle of the cube; days are from the CT to the film that is farthest from it. Breath, arms and what "
        "changed in these days count as error of the prediction.",
        "Nothing that is not aligned: the film figures here and psnr_db above are of other voxels.",
    ),
    "masks": (
        "Masks that were given for the true CT against organs found in the prediction by thresholds; ml_error and "
        "width_mm_error are predicted less given. The trachea counts as lung in the prediction, and the width of its "
        "heart is that of its PA DRR. The two methods differ on the true CT too.",
        "Dice of one segmenter on both CTs, as published, is another quantity.",
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
    return f"<h2>How each figure is defined</h2>\n{made}{_limits()}"


def _limits() -> str:
    """Return where the limits come from that decide a flag or a count."""
    limits = (
        f"Details of another body: at least {100 * COPY_STRENGTH:.0f} % as strong as the true ones, and a correlation "
        f"below {COPY_CORRELATION:g} of that. Set on phantoms of this project, between copies of another phantom (0 to "
        "0.2) and blurred truths (above 1); no patients were copied to set it.",
        f"False structure: the correlation falls below {CROSSING_LEVEL:g}, as the FDA's sFRC has it for CT, at less "
        f"than {FALSE_BELOW:g} cycles per voxel. That frequency is a choice of this project. The FDA finds it from "
        "patches that readers marked, which nobody did here; so it ranks models and proves nothing of one.",
        "All other flags have no limit but 0: the 95 % interval of a paired difference holds it, or the sign is wrong.",
    )
    items = "".join(f"<li>{html.escape(words)}</li>\n" for words in limits)
    return f"<h3>Where the limits of flags and counts come from</h3>\n<ul>\n{items}</ul>\n"


COLUMNS = {"unit": "unit", "region": "region", "data_range": "peak or range", "better": "better"}
"""Entry of a measure's record -> title of its column."""


def protocols(measures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the protocols of measures, each once, in the order of the measures."""
    return list(dict.fromkeys(what["protocol"] for what in measures.values()))


def title_of(protocol: str, measures: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of a protocol with its version."""
    version = next(what["version"] for what in measures.values() if what["protocol"] == protocol)
    return f"Protocol {protocol}, version {version}"

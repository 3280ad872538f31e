"""Write docs/gallery.md: cases of an evaluation from the worst to the best, with their pictures and figures.

Run from the repository, on the `output_dir` of `evaluating`:
    python -m benchmarks.gallery FOLDER [--cases 6] [--note "Source and licence of the CTs."]

The cases are chosen evenly by PSNR, so that the worst, the median and the best are among them. Each picture shows three
planes through the centre: truth, prediction, difference, the error that the network expects where it was asked for it,
and how many of the views see each voxel. Pictures are JPEG and go to docs/images.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import fire
from PIL import Image

from conventions import SYNTHETIC_STATEMENT, InputError, report_input_errors
from reports import CaseContent, case_figure, cases_to_show, figure_png, ray_support, read_case, read_measures
from storage import write_atomically

PAGE = Path(__file__).resolve().parent.parent / "docs" / "gallery.md"
"""The page."""

WIDTH = 1500
"""Width of a picture in pixels."""

SHOWN = {
    "psnr_db/prediction": "PSNR {:.1f} dB",
    "psnr_db/mean_volume": "mean training volume {:.1f} dB",
    "ssim/prediction": "SSIM {:.2f}",
    "mae_hu/prediction": "MAE {:.0f} HU",
    "lung_total_ml_error/prediction": "lung volume {:+.0f} ml",
    "cardiothoracic_ratio_error/prediction": "cardiothoracic ratio {:+.3f}",
}
"""Column of `cases.csv` -> words of a caption; a column that an evaluation lacks is left out."""

HEAD = f"""# Gallery

Written by `python -m benchmarks.gallery`; do not edit it by hand. {SYNTHETIC_STATEMENT}

Cases that the network was not trained on, the worst first: radiographs, then three planes each of truth, prediction,
difference (±500 HU), the error that the network expects, and the number of views that see a voxel.
"""


def write_gallery(folder: str | Path, page: str | Path = PAGE, cases: int = 6, note: str = "") -> Path:
    """Write the page and its pictures.

    Args:
        folder: `output_dir` of an evaluation.
        page: Markdown page to write; its pictures go to the folder `images` beside it.
        cases: number of cases.
        note: what a reader has to know of the cases, such as their source and licence.

    Returns:
        The page.

    Raises:
        InputError: where the evaluation lacks the volumes or the radiographs of a case.
    """
    page = Path(page)
    measures = read_measures(folder)
    parts, pictures = [HEAD], []
    for case in cases_to_show(measures, int(cases)):
        content = read_case(folder, case)
        if content.image is None:
            raise InputError(f"{folder}: lacks the radiographs of {case}; run the evaluation again")
        if not pictures:
            parts.append(" ".join([f"Network: {_network(content)}.", *note.split()]) + "\n")
        pictures.append(_picture(content))
        name = f"images/gallery_{len(pictures)}.jpg"
        parts.append(f"## {case}\n\n{_caption(measures[case])}\n\n![{case}]({name})\n")
    for number, picture in enumerate(pictures, start=1):  # only now that no case is missing
        name = f"images/gallery_{number}.jpg"
        write_atomically(page.parent / name, lambda part, picture=picture: part.write_bytes(picture))
    return write_atomically(page, lambda part: part.write_text("\n".join(parts), encoding="utf-8"))


def _network(content: CaseContent) -> str:
    name = content.model.get("network", {}).get("name", "unnamed")
    return f"`{name}`, weights {str(content.model.get('sha256', ''))[:12]}"


def _caption(measures: Mapping[str, float]) -> str:
    return ", ".join(words.format(measures[column]) for column, words in SHOWN.items() if column in measures)


def _picture(content: CaseContent) -> bytes:
    figure = case_figure(
        content.image,
        content.prediction_hu,
        content.truth_hu,
        content.case,
        content.acquisition.geometry_tensor(),
        content.error_hu,
        ray_support(content.acquisition),
    )
    with Image.open(io.BytesIO(figure_png(figure))) as picture:
        small = picture.convert("RGB")
    small.thumbnail((WIDTH, WIDTH))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80, optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(write_gallery)

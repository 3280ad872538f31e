"""Show an evaluation on one page: what to doubt, every figure with its interval, the worst, median and best case."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from conventions import SYNTHETIC_STATEMENT, VERSION, InputError, Keys
from drr import edge_letters, view_title
from metrics import HU_BANDS, Interval
from storage import set_aside, write_atomically

from .case_files import ORDER, PAGES, cases_to_show, read_case
from .case_page import FILM
from .definitions import definitions, protocols, title_of
from .evaluation_record import PREDICTION, EvaluationRecord, interval_or_none, read_evaluation
from .figures import DIFFERENCE_HU, PLANES, agreement_of_volumes_figure, error_bands_figure, figure_png, grey_of_hu
from .flags import Check, check_evaluation
from .page import asset, data_uri, document, link, model_words, notice, picture, table
from .summary import ROWS
from .volume_checks import VolumeFindings, examine_volumes

DECIMALS = {"dB": 2, "HU": 1, "HU^2": 0, "mm": 1, "ml": 0, "deg": 1, "days": 0, "1": 3}
"""Unit -> decimals of a figure."""

SHOWN = {1: ("",), 2: ("worst: ", "best: "), 3: ("worst: ", "median: ", "best: ")}
"""Number of cases that are shown -> what is said of each."""


def write_evaluation_page(folder: str | os.PathLike[str], name: str = "report.html") -> Path:
    """Write the page of an evaluation into its folder, in one file that needs no network.

    Args:
        folder: the `output_dir` of the evaluation.
        name: name of the page; a file of an earlier run is renamed.

    Returns:
        The page, which links to those of its cases.

    Raises:
        InputError: where the folder holds no record of an evaluation.
    """
    record = read_evaluation(folder)
    volumes = examine_volumes(folder, record.cases)
    parts = [
        _header(record),
        _doubts(check_evaluation(record, volumes)),
        *(_protocol(record, protocol, number == 0) for number, protocol in enumerate(protocols(record.measures))),
        _plots(record, volumes),
        _cases(record),
        definitions(record),
        f"<script>\n{asset('sort.js')}</script>\n",
    ]
    text, path = document("Evaluation: synthetic CTs", "".join(parts)), record.folder / name
    set_aside(path)
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def number(value: float, unit: str, form: str = "") -> str:
    """Return a figure with the decimals of its unit; empty where it is none."""
    return format(value, f"{form}.{DECIMALS.get(unit, 3)}f") if math.isfinite(value) else ""


def with_interval(values: Sequence[float], patients: Sequence[str], unit: str, form: str = "") -> str:
    """Return the mean of a measure with its interval, without one where there are too few patients.

    Where it could not be measured in every case, it says in how many.
    """
    measured = [value for value in values if math.isfinite(value)]
    interval = interval_or_none(values, patients)
    of_all = f", {len(measured)} of {len(values)} cases" if len(measured) < len(values) else ""
    if interval is None:
        return number(float(np.mean(measured)), unit, form) + of_all if measured else ""
    mean, low, high = (number(value, unit, form) for value in (interval.mean, interval.low, interval.high))
    return f"{mean} ({low} to {high}){of_all}"


def _header(record: EvaluationRecord) -> str:
    counts = f"{len(record.cases)} held-out cases of {len(set(record.patients))} patients"
    words = html.escape("; ".join([counts, *model_words(record.model), f"x2ct-bundle {VERSION}"]))
    return f'<header>\n{notice(SYNTHETIC_STATEMENT)}\n<h1>Evaluation</h1>\n<p class="quiet">{words}</p>\n</header>\n'


def _doubts(checks: Sequence[Check]) -> str:
    flags = "".join(
        f'<p class="doubt"><span class="flag">flag</span> {html.escape(check.name)}? No: '
        f"{html.escape(check.words)}</p>\n"
        for check in checks
        if check.state == "flag"
    )
    made = table(["check", "answer", "figures"], [[check.name, check.state, check.words] for check in checks])
    said = flags or "<p>No check raised a flag. That proves nothing about patients unlike these.</p>\n"
    return f"<h2>What to doubt</h2>\n{said}<details><summary>All checks</summary>{made}</details>\n"


def _protocol(record: EvaluationRecord, protocol: str, first: bool) -> str:
    """Return the figures of one protocol, and the table of its cases."""
    names = record.of_protocol(protocol)
    compared = [key for key in ROWS if any((name, key) in record.columns for name in names)]
    controls = [key for key in (Keys.MEAN_VOLUME, Keys.SHUFFLED_INPUT) if key in compared]
    rows = []
    for name in names:
        unit = record.measures[name]["unit"]
        title = name if unit == "1" else f"{name}, {unit}"
        cells = [
            with_interval(record.columns[name, key], record.patients, unit) if (name, key) in record.columns else ""
            for key in compared
        ]
        rows.append([title, *cells, *(_less(record, name, key) for key in controls)])
    header = ["measure", *(ROWS[key] for key in compared), *(f"less {ROWS[key]}" for key in controls)]
    made = f'<div class="scroll">{table(header, rows, numbers=True)}</div>'
    title = html.escape(title_of(protocol, record.measures))
    words = (
        "Means over cases (95 % intervals by resampling patients). The last columns are paired differences on the same "
        "cases; of signed errors, differences of their size."
    )
    return (
        f'<h2>{title}</h2>\n<p class="quiet">{words}</p>\n{made}<details{" open" if first else ""}><summary>Each case: '
        f'press a title to sort</summary><div class="scroll">{_case_table(record, names)}</div></details>\n'
    )


def _less(record: EvaluationRecord, name: str, control: str) -> str:
    if not record.has(name, control):
        return ""
    pairs = zip(record.badness(name), record.badness(name, control), strict=True)
    return with_interval([own - other for own, other in pairs], record.patients, record.measures[name]["unit"], "+")


def _case_table(record: EvaluationRecord, names: Sequence[str]) -> str:
    measured = [name for name in names if record.has(name)]
    rows = [
        [case, *(number(record.columns[name, PREDICTION][place], record.measures[name]["unit"]) for name in measured)]
        for place, case in enumerate(record.cases)
    ]
    return table(["case", *measured], rows, numbers=True, sortable=True, links=links_to_pages(record))


def links_to_pages(record: EvaluationRecord) -> dict[str, str]:
    """Return case -> path of its page beside the report, where there is one."""
    paths = {case: f"{PAGES}/{case}.html" for case in record.cases}
    return {case: path for case, path in paths.items() if (record.folder / path).is_file()}


def _plots(record: EvaluationRecord, volumes: VolumeFindings) -> str:
    pictures = [*_bands_plot(record), *_lungs_plot(record, volumes)]
    shown = "".join(f'<img alt="{html.escape(words)}" src="{data_uri(png)}">' for words, png in pictures)
    said = "".join(f"<p>{html.escape(words)}.</p>\n" for words, _ in pictures)
    return f'<h2>Errors by tissue, and lung volumes</h2>\n<div class="plots">{shown}</div>\n{said}' if pictures else ""


def _bands_plot(record: EvaluationRecord) -> list[tuple[str, bytes]]:
    bands = {
        band: f"{'below' if low == -math.inf else f'{low:g} to'} {high:g}" if high < math.inf else f"above {low:g}"
        for band, (low, high) in HU_BANDS.items()
        if record.has(f"{band}_mae_hu")
    }
    if not bands:
        return []
    errors = {
        title: [_mean_and_ends(record.columns[f"{band}_mae_hu", key], record.patients) for band in bands]
        for key, title in ROWS.items()
        if all((f"{band}_mae_hu", key) in record.columns for band in bands)
    }
    return [("mean absolute error by tissue, with 95 % intervals", figure_png(error_bands_figure(bands, errors)))]


def _mean_and_ends(values: Sequence[float], patients: Sequence[str]) -> tuple[float, float, float]:
    interval: Interval | None = interval_or_none(values, patients)
    if interval is not None:
        return interval.mean, interval.low, interval.high
    measured = [value for value in values if math.isfinite(value)]
    return (float(np.mean(measured)) if measured else math.nan), math.nan, math.nan


def _lungs_plot(record: EvaluationRecord, volumes: VolumeFindings) -> list[tuple[str, bytes]]:
    if not record.has("lung_total_ml_error"):
        return []
    errors = dict(zip(record.cases, record.columns["lung_total_ml_error", PREDICTION], strict=True))
    true = list(volumes.lung_ml.values())
    found = [volumes.lung_ml[case] + errors[case] for case in volumes.lung_ml]
    try:
        figure = agreement_of_volumes_figure(true, found, "volume of both lungs")
    except InputError:  # fewer than two cases: no limits of agreement
        return []
    shares = [abs(errors[case]) / ml for case, ml in volumes.lung_ml.items() if ml > 0 and math.isfinite(errors[case])]
    words = "lung volume, predicted less true over true, with bias and 95 % limits of agreement (Bland and Altman)"
    if shares:
        words += f"; the mean absolute error is {100 * float(np.mean(shares)):.1f} % of the true volume"
    return [(words, figure_png(figure))]


def _cases(record: EvaluationRecord) -> str:
    """Return pictures of the worst, the median and the best case by PSNR."""
    measures: dict[str, Mapping[str, float]] = {case: {} for case in record.cases}
    if record.has("psnr_db"):
        values = record.columns["psnr_db", PREDICTION]
        measures = {
            case: {ORDER: value} for case, value in zip(record.cases, values, strict=True) if math.isfinite(value)
        }
    chosen, links, made = cases_to_show(measures, 3), links_to_pages(record), ""
    for words, case in zip(SHOWN.get(len(chosen), ()), chosen, strict=True):
        psnr = measures[case].get(ORDER)
        title = f"{words}{case}" + ("" if psnr is None else f", {psnr:.2f} dB")
        head = f"<section><h3>{html.escape(title)}</h3>\n"
        if case in links:
            head += f"<p>{link('Its page, with a viewer', links[case])}</p>\n"
        made += f"{head}{_pictures(record, case)}</section>\n"
    return f"<h2>Cases, by PSNR</h2>\n{made}" if made else ""


def _pictures(record: EvaluationRecord, case: str) -> str:
    try:
        content = read_case(record.folder, case)
    except InputError:  # said among the checks
        return "<p>Its volumes were not kept, or cannot be read.</p>\n"
    films = [] if content.image is None else zip(content.acquisition.views, content.image, strict=True)
    made = "".join(
        picture(pixels, f"radiograph, {view_title(beam)}", edge_letters(beam), FILM) for beam, pixels in films
    )
    volumes = [("synthetic CT", content.prediction_hu, grey_of_hu())]
    if content.truth_hu is not None:
        signed = {"cmap": "RdBu_r", "vmin": -DIFFERENCE_HU, "vmax": DIFFERENCE_HU}
        off = content.prediction_hu - content.truth_hu
        words = f"synthetic - true CT, ±{DIFFERENCE_HU:g} HU"
        volumes = [("true CT", content.truth_hu, grey_of_hu()), *volumes, (words, off, signed)]
    planes = "".join(
        picture(volume.take(volume.shape[axis] // 2, axis), f"{words}, {plane}", letters, colours)
        for words, volume, colours in volumes
        for plane, (axis, letters) in PLANES.items()
    )
    return f'<div class="pictures">\n{made}{planes}</div>\n'

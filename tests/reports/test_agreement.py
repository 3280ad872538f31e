"""The figure of films and re-projections: what stands where."""

import numpy as np
import pytest

from drr import Acquisition
from reports import draw_agreement
from reports.agreement import agreement_figure

RECORD = {"before": [0.5, 0.6], "after": [0.05, 0.06]}


def lines():
    """Films of 3, a predicted volume of 1, an updated one of 2.5; views differ by 1."""
    values = np.zeros((3, 2, 8, 8), np.float32)
    for number, value in enumerate((3.0, 1.0, 2.5)):
        values[number, 0], values[number, 1] = value, value + 1
    return values


def test_films_volumes_and_differences_are_in_their_panels():
    geometry = Acquisition(geometry="chest", detector_shape=8).geometry_tensor()
    panels = [axes for axes in agreement_figure(lines(), RECORD, geometry).axes if axes.get_title()]
    shown = [float(axes.images[0].get_array().mean()) for axes in panels]
    assert shown == pytest.approx([3, 1, 2, 2.5, 0.5, 4, 2, 2, 3.5, 0.5])
    titles = [axes.get_title() for axes in panels]
    assert titles[0] == "film, PA"
    assert "lateral" in titles[5]
    assert titles[2] == "film - CT before (rms 0.50)"
    assert titles[9] == "film - CT after (rms 0.06)"


def test_it_is_written(tmp_path):
    path = draw_agreement(tmp_path / "a.png", lines(), RECORD)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_takes_no_part_is_left_blank():
    values = lines()
    values[0, 0, :2] = np.nan
    figure = agreement_figure(values, RECORD)
    panels = [axes for axes in figure.axes if axes.get_title()]
    for number in (0, 2, 4):
        shown = np.ma.getmaskarray(panels[number].images[0].get_array())
        assert shown[:2].all()
        assert not shown[2:].any()

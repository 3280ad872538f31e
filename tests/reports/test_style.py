"""Tables and pictures of translators."""

import csv
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.image import imread

from reports import StyleReport, style_table
from reports.style import grid_figure
from tests.reports.pictures import panels

ROW = {"direction": "to_drr", "method": "histogram", "kid": 0.0123, "kid_deviation": 0.002, "structure": 0.95}


def test_a_table_has_a_column_for_each_measure():
    lines = style_table([ROW, {"direction": "to_drr", "method": "same style", "kid": -0.001}])
    assert lines[0] == "| translator | KID x 1000 | ± x 1000 | structure |"
    assert lines[2] == "| histogram | 12.30 | 2.00 | 0.950 |"
    assert lines[3] == "| same style | -1.00 |  |  |"


def test_a_report_is_a_page_a_table_and_pictures_and_keeps_the_earlier_one(tmp_path):
    pictures = {"as it is": torch.zeros(3, 16, 16), "histogram": torch.rand(2, 16, 16)}
    back = {"direction": "to_real", "method": "none", "kid": 0.5}
    results = {"pa": SimpleNamespace(rows=[ROW, back], pictures={"to_drr": pictures, "to_real": pictures})}
    page = StyleReport(tmp_path, {"films": 8})(results)
    assert (tmp_path / "style.md").read_text() == page
    assert "- films: 8" in page
    assert "## PA: films to the style of DRRs" in page
    assert "## PA: DRRs to the style of films" in page
    assert page.count("| none |") == page.count("| histogram |") == 1
    with (tmp_path / "style.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["view"], row["method"], float(row["kid"])) for row in rows] == [
        ("pa", "histogram", 0.0123),
        ("pa", "none", 0.5),
    ]
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"style.md", "style.csv", "pa_to_drr.png", "pa_to_real.png"}
    assert imread(tmp_path / "pa_to_drr.png").shape[0] > imread(tmp_path / "pa_to_drr.png").shape[1]
    StyleReport(tmp_path)(results)
    assert len(list(tmp_path.glob("style_*.md"))) == len(list(tmp_path.glob("pa_to_real_*.png"))) == 1


def test_images_are_in_the_column_of_their_name_with_the_letters_of_their_view():
    pictures = {"as it is": torch.rand(3, 16, 16), "histogram": torch.rand(2, 16, 16)}
    for view, letters in (("pa", ("H", "F", "R", "L")), ("lateral", ("H", "F", "A", "P"))):
        figure = grid_figure(pictures, "title", view)
        for name, images in pictures.items():
            shown = [panel for _, panel in panels(figure, name)]
            assert len(shown) == len(images)
            for panel, image in zip(shown, images, strict=True):
                np.testing.assert_array_equal(panel.pixels, image)
                assert panel.letters == letters
                assert panel.colours == (0, 1)
        columns = {a.get_title(): a.get_subplotspec().colspan.start for a in figure.axes if a.images}
        assert columns == {"as it is": 0, "histogram": 1}

"""Pictures of an evaluation's cases: any number of views, one or two processes."""

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from PIL import Image
from torch import nn

from cohort import share_of_process
from drr import Acquisition
from engines import X2CTEvaluator
from handlers import CaseFigures
from tests.processes import in_processes
from transforms import ReadRadiograph, UnitToHUd

VIEWS = ("pa", "lateral", "ap", "right_lateral", "oblique_45", "oblique_-30", "parallel_pa", "parallel_lateral")


class Zero(nn.Module):
    """A generator of empty volumes."""

    def forward(self, image, geometry=None):
        return image.new_zeros(len(image), 1, 16, 16, 16)


def evaluate(folder, acquisition, cases=1, radiographs=True, geometry=None):
    """An evaluation of random radiographs; returns those of the last case."""
    generator = torch.Generator().manual_seed(0)
    views = len(acquisition.view_names)
    data = [
        {
            "case": f"case {number}",
            "image": torch.rand(views, 16, 16, generator=generator),
            "label": torch.rand(1, 16, 16, 16, generator=generator),
            "geometry": acquisition.geometry_tensor() if geometry is None else geometry,
        }
        for number in range(cases)
    ]
    figures = CaseFigures(folder / "cases", acquisition, folder / "radiographs" if radiographs else None)
    X2CTEvaluator(
        device="cpu",
        val_data_loader=DataLoader(CacheDataset(share_of_process(data), progress=False), batch_size=1),
        network=Zero(),
        postprocessing=UnitToHUd(("pred", "label")),
        val_handlers=[figures],
    ).run()
    return data[-1]["image"].numpy()


@pytest.mark.parametrize("count", range(1, 9))
def test_a_case_is_drawn_and_each_view_is_kept(tmp_path, count):
    names = VIEWS[:count]
    image = evaluate(tmp_path, Acquisition(view_names=names, detector_shape=16))
    assert [path.name for path in (tmp_path / "cases").iterdir()] == ["case 0.png"]
    assert {path.name for path in (tmp_path / "radiographs").iterdir()} == {f"case 0_{name}.png" for name in names}
    for name, pixels in zip(names, image, strict=True):
        found = np.asarray(Image.open(tmp_path / "radiographs" / f"case 0_{name}.png")) / 65535
        np.testing.assert_allclose(found, pixels, atol=1e-5)


def test_the_radiographs_say_what_made_them(tmp_path):
    acquisition = Acquisition(geometry="chest", curve="water", film_style="linear", detector_shape=16)
    image = evaluate(tmp_path, acquisition)
    for number, view in enumerate(("pa", "lateral")):
        film = ReadRadiograph(view)(tmp_path / "radiographs" / f"case 0_{view}.png")
        assert film.meta["view"] == view
        mark = film.meta["computed"]
        assert (mark.geometry, mark.curve, mark.film_style, mark.view) == ("chest", "water", "linear", view)
        np.testing.assert_allclose(np.asarray(film)[0], image[number], atol=1e-5)


def test_views_are_named_by_the_geometry_of_the_batch(tmp_path):
    """The same radiograph is drawn with other letters where the batch says that it is another view."""
    pa, ap = (Acquisition(view_names=(view,), detector_shape=16) for view in ("pa", "ap"))
    evaluate(tmp_path / "pa", pa)
    evaluate(tmp_path / "ap", pa, geometry=ap.geometry_tensor())
    drawn = [np.asarray(Image.open(tmp_path / view / "cases" / "case 0.png")) for view in ("pa", "ap")]
    assert drawn[0].shape == drawn[1].shape
    assert not np.array_equal(*drawn)


def test_a_picture_of_an_earlier_run_is_kept(tmp_path):
    acquisition = Acquisition(detector_shape=16)
    evaluate(tmp_path, acquisition, radiographs=False)
    before = (tmp_path / "cases" / "case 0.png").read_bytes()
    evaluate(tmp_path, acquisition, radiographs=False)
    assert not (tmp_path / "radiographs").exists()
    [kept] = (tmp_path / "cases").glob("case 0_*.png")
    assert kept.read_bytes() == before


@pytest.mark.parametrize("cases", [pytest.param(1, id="fewer cases than processes"), pytest.param(3, id="shared")])
def test_two_processes_draw_each_case_once(tmp_path, cases):
    acquisition = Acquisition(view_names=("pa",), detector_shape=16)
    in_processes(lambda rank: evaluate(tmp_path, acquisition, cases))
    names = [f"case {number}" for number in range(cases)]
    assert sorted(path.stem for path in (tmp_path / "cases").iterdir()) == names
    assert sorted(path.stem for path in (tmp_path / "radiographs").iterdir()) == [f"{name}_pa" for name in names]

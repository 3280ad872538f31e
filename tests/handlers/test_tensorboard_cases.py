import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from drr import Acquisition
from handlers import TensorBoardCases
from tests.processes import in_processes

VOLUMES = torch.linspace(-1000, 500, 512).reshape(1, 8, 8, 8)


def show(handler, geometry, epochs=(1,), cases=1):
    output = {"image": torch.full((len(geometry), 8, 8), 0.5), "label": VOLUMES, "pred": VOLUMES.flip(1)}
    for epoch in epochs:
        for iteration in range(1, cases + 1):
            item = {"case": f"c{iteration}", "geometry": geometry}
            state = SimpleNamespace(iteration=iteration, epoch=epoch, epoch_length=cases, batch=[item], output=[output])
            handler(SimpleNamespace(state=state))


def pictures(folder, number=0):
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return events.Images(f"validation/{number}") if events.Tags()["images"] else []


def test_the_first_cases_of_a_validation_are_shown(tmp_path):
    show(TensorBoardCases(tmp_path, cases=2), Acquisition().geometry_tensor(), epochs=(1, 2), cases=3)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["validation/0", "validation/1"]
    assert [image.step for image in events.Images("validation/1")] == [1, 2]
    assert events.Images("validation/0")[0].width > 500


@pytest.mark.parametrize("count", [1, 3, 8])
def test_any_number_of_views_is_shown(tmp_path, count):
    names = ("pa", "lateral", "ap", "right_lateral", "oblique_45", "oblique_-30", "parallel_pa", "parallel_lateral")
    show(TensorBoardCases(tmp_path), Acquisition(view_names=names[:count]).geometry_tensor())
    [picture] = pictures(tmp_path)
    pixels = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)).convert("RGB"))
    half_grey = (pixels == (127, 127, 127)).all(-1) | (pixels == (128, 128, 128)).all(-1)
    one = 220**2  # about the pixels of one radiograph
    assert half_grey.sum() > 0.7 * count * one


def test_views_are_named_by_the_geometry_of_the_batch(tmp_path):
    for view in ("pa", "ap"):
        show(TensorBoardCases(tmp_path / view), Acquisition(view_names=(view,)).geometry_tensor())
    [pa], [ap] = (pictures(tmp_path / view) for view in ("pa", "ap"))
    assert (pa.width, pa.height) == (ap.width, ap.height)
    assert pa.encoded_image_string != ap.encoded_image_string


def test_the_first_of_several_processes_shows_them(tmp_path):
    def validate(rank):
        def update(engine, _batch):
            engine.state.batch = [{"case": f"of process {rank}", "geometry": Acquisition().geometry_tensor()}]
            return [{"image": torch.zeros(2, 8, 8), "label": VOLUMES, "pred": VOLUMES}]

        engine = Engine(update)
        TensorBoardCases(tmp_path / str(rank)).attach(engine)
        engine.run([0])

    in_processes(validate)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]

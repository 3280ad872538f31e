from types import SimpleNamespace

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reports import TensorBoardCases


def test_tensorboard_shows_the_first_cases_of_a_validation(tmp_path):

    handler = TensorBoardCases(tmp_path, cases=2)
    volumes = torch.linspace(-1000, 500, 512).reshape(1, 8, 8, 8)
    output = {"image": torch.rand(2, 8, 8), "label": volumes, "pred": volumes.flip(1)}
    for epoch in (1, 2):
        for iteration in (1, 2, 3):
            state = SimpleNamespace(
                iteration=iteration, epoch=epoch, epoch_length=3, batch=[{"case": f"c{iteration}"}], output=[output]
            )
            handler(SimpleNamespace(state=state))
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["validation/0", "validation/1"]
    assert [image.step for image in events.Images("validation/1")] == [1, 2]
    assert events.Images("validation/0")[0].width > 500

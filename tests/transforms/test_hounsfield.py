import torch
from monai.data import MetaTensor

from transforms import HUWindow, HUWindowd, UnitToHU, UnitToHUd


def test_there_and_back_keeps_the_affine():
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    hu = MetaTensor(torch.tensor([[-3000.0, -1024.0, 0.0, 1476.0, 3000.0]]), affine=affine)
    unit = HUWindow()(hu)
    torch.testing.assert_close(unit.as_tensor(), torch.tensor([[0.0, 0.0, 0.4096, 1.0, 1.0]]))
    back = UnitToHU()(unit)
    torch.testing.assert_close(back.as_tensor(), torch.tensor([[-1024.0, -1024.0, 0.0, 1476.0, 1476.0]]))
    assert torch.equal(back.affine, affine)


def test_dictionary_forms_walk_their_keys():
    item = {"label": torch.zeros(1, 2), "pred": torch.ones(1, 2), "case": "a"}
    out = UnitToHUd(["pred", "label", "mean_volume"], (-1000, 1000), allow_missing_keys=True)(item)
    assert out["pred"].tolist() == [[1000, 1000]]
    assert out["label"].tolist() == [[-1000, -1000]]
    assert out["case"] == "a"
    assert HUWindowd("label", (-1000, 1000))(out)["label"].tolist() == [[0, 0]]

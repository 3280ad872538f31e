import pytest
import torch

from conventions import InputError
from drr import to_film


def test_linear_keeps_absolute_attenuation():
    p = torch.tensor([[0.0, 4.0], [8.0, 20.0]])
    assert torch.equal(to_film(p, "linear"), torch.tensor([[0.0, 0.5], [1.0, 1.0]]))


def test_x2ct_is_eight_bit_of_its_own_maximum():
    p = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[0.0, 10.0], [20.0, 40.0]]])
    film = to_film(p, "x2ct")
    expected = torch.tensor([[0.0, 63 / 255], [127 / 255, 1.0]])
    torch.testing.assert_close(film, torch.stack([expected, expected]))
    assert torch.equal(to_film(torch.zeros(2, 3, 3), "x2ct"), torch.zeros(2, 3, 3))


@pytest.mark.parametrize("style", ["linear", "x2ct"])
def test_gradients_pass(style):
    p = torch.tensor([[1.0, 2.0], [3.0, 7.0]], requires_grad=True)
    to_film(p, style)[0, 0].backward()
    assert float(p.grad[0, 0]) == pytest.approx(1 / 8 if style == "linear" else 1 / 7)


def test_unknown_style():
    with pytest.raises(InputError, match=r"unknown film style 'dark'.*linear, x2ct"):
        to_film(torch.zeros(1, 1), "dark")

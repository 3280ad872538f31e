"""A network that runs from a file exported of it."""

import pytest
import torch
from monai.data import MetaTensor

from conventions import HU_WINDOW, InputError
from networks import build_network, load, make_record, with_backend, write_record
from networks.__main__ import export_onnx, export_pt2
from networks.pt2_export import read_pt2
from storage import write_tensors

RAYLIFT = {"encoder_channels": (8,) * 5, "unet_channels": (8, 8), "head_channels": (8, 4), "lift_channels": (8, 4, 4)}
EXPORTS = {"onnx": export_onnx, "pt2": export_pt2}


def save(file, name, seed=0, **arguments):
    torch.manual_seed(seed)
    network = build_network(name, **arguments)
    write_tensors(file, network.state_dict())
    write_record(file, make_record(network, hu_window=HU_WINDOW))
    return file


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = save(tmp_path_factory.mktemp("model") / "model.pt", "raylift", image_size=32, voxel_mm=10.0, **RAYLIFT)
    for backend, export in EXPORTS.items():
        export(str(file), str(file.with_suffix(f".{backend}")))
    return file


@pytest.mark.parametrize("backend", EXPORTS)
def test_it_predicts_what_the_network_predicts(model, backend):
    network, _ = load(model)
    image, views = torch.rand(2, 2, 32, 32), network.preset_geometry
    exported = with_backend(network, backend, model).train().eval()  # as an evaluator does
    with torch.no_grad():
        expected = network(image)
        for geometry in (None, views, views.expand(2, -1, -1, -1)):
            torch.testing.assert_close(exported(image, geometry=geometry), expected, rtol=0, atol=1e-5)
        assert (exported(image.flip(1)) - expected).abs().max() > 1e-3
        film = MetaTensor(image, affine=torch.diag(torch.tensor([2.0, 2, 2, 1])))
        assert torch.equal(exported(film).affine, network(film).affine)


def test_torch_is_the_network_itself(model):
    network, _ = load(model)
    assert with_backend(network, "torch", model) is network


@pytest.mark.parametrize("backend", EXPORTS)
def test_other_views_than_the_file_was_made_for_are_refused(model, backend):
    network, _ = load(model)
    exported = with_backend(network, backend, model)
    with pytest.raises(InputError, match=r"up to 20 mm from those that the file was exported for; use --backend torch"):
        exported(torch.rand(1, 2, 32, 32), geometry=network.preset_geometry + torch.tensor([20.0, 0, 0]))
    with pytest.raises(InputError, match=r"takes 2 radiographs of 32 x 32 pixels, got \(3, 32, 32\)"):
        exported(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("backend", EXPORTS)
def test_a_file_of_other_weights_is_refused(model, backend, tmp_path):
    other = save(tmp_path / "model.pt", "raylift", seed=1, image_size=32, voxel_mm=10.0, **RAYLIFT)
    file = other.with_suffix(f".{backend}")
    network, _ = load(other)
    with pytest.raises(InputError, match=rf"model\.{backend}: there is no such file.*networks export-{backend} "):
        with_backend(network, backend, other)
    file.write_bytes(model.with_suffix(f".{backend}").read_bytes())
    with pytest.raises(InputError, match=rf"model\.{backend}: was exported of other weights than .*model\.pt"):
        with_backend(network, backend, other)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=rf"model\.{backend}: .*(constraints\.txt|export it again)"):
        with_backend(network, backend, other)


def test_what_no_backend_runs_is_refused(model, tmp_path):
    network, _ = load(model)
    with pytest.raises(InputError, match="backend is 'tpu'; choose one of torch, onnx, pt2"):
        with_backend(network, "tpu", model)
    discriminator = save(tmp_path / "model.pt", "patchgan_3d")
    with pytest.raises(InputError, match=r"model\.pt: makes no volume"):
        with_backend(load(discriminator)[0], "onnx", discriminator)


def test_the_file_says_what_it_is(model):
    _, entries = read_pt2(model.with_suffix(".pt2"))
    assert entries["network"]["name"] == "raylift"
    assert entries["output"].startswith("Synthetic CT")
    assert entries["hu_window"] == [-1024, 1476]

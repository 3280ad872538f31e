"""The one door to a model: what `networks.load` accepts, and what it refuses in which sentence."""

import hashlib
import json

import pytest
import torch
from torch import nn

from conventions import HU_WINDOW, InputError, View
from drr import Acquisition, VolumeGrid, preset
from networks import (
    ABOUT,
    WEIGHTS_SHA256,
    build_network,
    describe_model,
    load,
    make_record,
    mean_path,
    network_for,
    read_mean_volume,
    read_record,
    record_path,
    start_from,
    write_record,
)
from storage import write_tensors

GRID = VolumeGrid(64, 5.0)
CHEST = Acquisition(grid=GRID, geometry="chest", curve="water", film_style="linear", detector_shape=64, anchor="centre")
ARGUMENTS = {"image_size": 64, "channels": [4, 8]}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("replicate_unet", **ARGUMENTS).eval()


@pytest.fixture
def model(network, tmp_path):
    """A model file with its record."""
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    data = {"data": {"train_cases": 2}, "patients": ["a", "b"], "film_keys": ["x", "y"]}
    write_record(path, make_record(network, CHEST, HU_WINDOW, data, seed=3))
    return path


def change_record(path, **entries):
    """Write a record with other entries; None takes an entry out."""
    record = json.loads(record_path(path).read_text()) | entries
    record_path(path).write_text(json.dumps({key: value for key, value in record.items() if value is not None}))


def assert_same_weights(loaded, network):
    expected = network.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())


def test_the_network_is_built_from_its_record(model, network):
    loaded, record = load(model)
    assert loaded.spec == network.spec
    assert not loaded.training
    assert_same_weights(loaded, network)
    assert Acquisition.from_record(record["acquisition"]) == CHEST
    assert tuple(record["hu_window"]) == HU_WINDOW
    assert (record["seed"], record["data"]) == (3, {"train_cases": 2})
    assert record["versions"]["torch"] == torch.__version__


def test_a_given_network_is_filled(model, network):
    given = build_network("replicate_unet", **ARGUMENTS)
    loaded, _ = load(model, network=given)
    assert loaded is given
    assert_same_weights(given, network)


def test_a_record_that_agrees_passes(model, network):
    load(model, expect=make_record(network, CHEST, HU_WINDOW, seed=99))
    load(model, expect={"hu_window": (-1024, 1476), "acquisition": CHEST.record()})


TURNED = tuple(view.moved((0.0, 0.0, 5.0)) for view in preset("chest", (64, 64)))


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        pytest.param(
            {"network": {"name": "cnn2d", "arguments": {}}},
            r"network name 'replicate_unet', this run asks for 'cnn2d'",
            id="network",
        ),
        pytest.param(
            {"network": {"name": "replicate_unet", "arguments": {"image_size": 128}}},
            r"network arguments image_size 64, this run asks for 128",
            id="network argument",
        ),
        pytest.param({"hu_window": (-1000, 1000)}, r"hu_window \[-1024.*\], this run asks for \[-1000", id="window"),
        pytest.param(
            {"acquisition": CHEST.replace(geometry="x2ct")}, r"geometry 'chest' instead of 'x2ct'", id="preset"
        ),
        pytest.param(
            {"acquisition": CHEST.replace(geometry=TURNED)},
            r"geometry 'chest' instead of view objects \(2\)",
            id="beams",
        ),
        pytest.param(
            {"acquisition": CHEST.replace(view_names=("pa",))},
            r"views \['pa', 'lateral'\] instead of \['pa'\]",
            id="views",
        ),
        pytest.param({"acquisition": CHEST.replace(curve="bone")}, r"curve 'water' instead of 'bone'", id="curve"),
        pytest.param(
            {"acquisition": CHEST.replace(film_style="logistic")},
            r"film style 'linear' instead of 'logistic'",
            id="style",
        ),
        pytest.param(
            {"acquisition": CHEST.replace(detector_shape=128)},
            r"detector shape \[64, 64\] instead of \[128, 128\]",
            id="detector",
        ),
        pytest.param(
            {"acquisition": CHEST.replace(grid=VolumeGrid(64, 4.0))},
            r"grid spacing \[5.0, .*\] instead of \[4.0",
            id="grid",
        ),
        pytest.param({"acquisition": CHEST.replace(anchor="head")}, r"anchor 'centre' instead of 'head'", id="anchor"),
    ],
)
def test_a_difference_is_named(model, expect, words):
    wanted = {key: value.record() if isinstance(value, Acquisition) else value for key, value in expect.items()}
    with pytest.raises(InputError, match=rf"model\.pt: was trained with {words}.*use the configuration"):
        load(model, expect=wanted)


def test_a_record_without_radiographs_does_not_pass_for_one(model):
    change_record(model, acquisition=None)
    load(model)
    with pytest.raises(InputError, match=r"model\.json: does not say for which radiographs the model was made; use"):
        load(model, expect={"acquisition": CHEST.record()})


def test_seen_patients_and_films_are_refused(model):
    load(model, held_out=["c"], films=["z"])
    with pytest.raises(InputError, match=r"trained or chosen on 1 of the 2 patients to be evaluated"):
        load(model, held_out=["b", "c"])
    with pytest.raises(InputError, match=r"trained on 1 of the 2 films to be measured on; keep some films back"):
        load(model, films=["x", "z"])


def test_a_missing_file_is_refused_with_what_to_do(model, tmp_path):
    with pytest.raises(
        InputError, match=r"absent\.pt: there is no model yet; train one.*networks convert.*path of another"
    ):
        load(tmp_path / "absent.pt")
    record_path(model).unlink()
    with pytest.raises(InputError, match=r"model\.pt: there is no model\.json next to it.*networks convert"):
        load(model)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"garbage", "cannot be read as PyTorch weights", id="no weights"),
        pytest.param({"iters": 5, "state_dict": {}}, "is not a bare state dict", id="authors' checkpoint"),
        pytest.param(nn.Linear(3, 2), "cannot be read as PyTorch weights", id="pickled module"),
        pytest.param({"weight": torch.full((2, 3), torch.nan)}, "'weight' is not finite", id="nan"),
        pytest.param({"weight": torch.zeros(2, 3)}, r"lacks 'unet\..*', so it belongs to another network", id="other"),
    ],
)
def test_damaged_weights_are_refused(model, content, words):
    model.write_bytes(content) if isinstance(content, bytes) else torch.save(content, model)
    with pytest.raises(InputError, match=rf"model\.pt: {words}"):
        load(model)


def test_weights_of_another_shape_are_refused(model):
    change_record(model, network={"name": "replicate_unet", "arguments": {**ARGUMENTS, "channels": [4, 6]}})
    with pytest.raises(InputError, match=r"has the shape \(8,.*\), this network needs \(6,"):
        load(model)
    change_record(model, network={"name": "replicate_unet", "arguments": {**ARGUMENTS, "channels": [4, 8, 8]}})
    with pytest.raises(InputError, match=r"lacks 'unet\..*', so it belongs to another network"):
        load(model)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "is not JSON", id="no JSON"),
        pytest.param("[]", "is not the record of a model", id="list"),
        pytest.param("{}", "is not the record of a model", id="empty"),
        pytest.param('{"network": "cnn2d"}', "is not the record of a model", id="name alone"),
        pytest.param('{"network": {"name": "cnn2d"}}', "is not the record of a model", id="no arguments"),
        pytest.param(
            '{"network": {"name": "unet", "arguments": {}}}',
            "a network that cannot be made: unknown",
            id="unknown network",
        ),
        pytest.param(
            '{"network": {"name": "cnn2d", "arguments": {"width": 3}}}', "has no argument width", id="unknown argument"
        ),
        pytest.param(
            '{"network": {"name": "cnn2d", "arguments": {"image_size": "64x64"}}}', "cannot be made", id="bad argument"
        ),
        pytest.param(
            '{"network": {"name": "cnn2d", "arguments": {}}, "acquisition": {"geometry": "x2ct"}}',
            "the record of an acquisition has the entries",
            id="acquisition",
        ),
        pytest.param(
            '{"network": {"name": "cnn2d", "arguments": {}}, "geometry": "x2ct", "curve": "water"}',
            "is not the record of a model",
            id="half of version 0.1",
        ),
    ],
)
def test_damaged_records_are_refused(model, text, words):
    record_path(model).write_text(text)
    with pytest.raises(InputError, match=rf"model\.json: .*{words}"):
        load(model)


OLD_GRID = {"shape": [64] * 3, "spacing": [5.0] * 3, "anchor": "centre"}


@pytest.mark.parametrize(
    ("name", "arguments", "old", "acquisition"),
    [
        pytest.param("replicate_unet", ARGUMENTS, {"film": "linear"}, CHEST, id="biplanar"),
        pytest.param(
            "replicate_unet",
            ARGUMENTS,
            {"film": "film"},
            CHEST.replace(film_style="logistic"),
            id="style film is logistic",
        ),
        pytest.param(
            "replicate_unet",
            {**ARGUMENTS, "views": 1},
            {"film": "linear"},
            CHEST.replace(view_names=("pa",)),
            id="single view by its arguments",
        ),
        pytest.param(
            "x2ct_single_view",
            {"image_size": 64},
            {"film": "linear"},
            CHEST.replace(view_names=("pa",)),
            id="single view",
        ),
        pytest.param(
            "cnn2d",
            {"image_size": 128},
            {"film": "linear"},
            CHEST.replace(view_names=("pa",), detector_shape=128),
            id="cnn2d reads twice the size",
        ),
        pytest.param(
            "resnet_6blocks",
            {"channels": 4, "blocks": 1},
            {"film": "linear", "image_size": 96, "views": ["lateral"], "method": "cyclegan"},
            CHEST.replace(view_names=("lateral",), detector_shape=96),
            id="translator",
        ),
    ],
)
def test_a_record_of_version_0_1_is_read(tmp_path, name, arguments, old, acquisition):
    network = {"name": name, "arguments": arguments}
    old = {
        "network": network,
        "geometry": "chest",
        "curve": "water",
        "hu_window": [-1024, 1476],
        "grid": OLD_GRID,
        **old,
    }
    (tmp_path / "model.json").write_text(json.dumps({**old, "seed": 7, "patients": ["a"]}))
    record = read_record(tmp_path / "model.pt")
    assert Acquisition.from_record(record["acquisition"]) == acquisition
    assert not {"geometry", "curve", "film", "grid", "image_size", "views"} & set(record)
    assert (record["network"], record["hu_window"], record["seed"]) == (network, [-1024, 1476], 7)
    assert record["patients"] == ["a"]
    assert record.get("method") == old.get("method")


def test_a_model_of_version_0_1_is_loaded_and_compared(model):
    old = {"geometry": "chest", "curve": "water", "film": "linear", "grid": OLD_GRID}
    change_record(model, acquisition=None, **old)
    load(model, expect={"acquisition": CHEST.record(), "hu_window": HU_WINDOW})
    with pytest.raises(InputError, match=r"geometry 'chest' instead of 'x2ct'"):
        load(model, expect={"acquisition": CHEST.replace(geometry="x2ct").record()})


def test_view_objects_come_back_from_a_record(tmp_path, network):
    acquisition = CHEST.replace(geometry=TURNED, view_names=("front", "side"))
    write_record(tmp_path / "model.pt", make_record(network, acquisition, HU_WINDOW))
    assert Acquisition.from_record(read_record(tmp_path / "model.pt")["acquisition"]) == acquisition


def test_a_record_of_a_network_alone(tmp_path):
    network = build_network("patchgan_70", channels=4)
    record = make_record(network)
    assert record.keys() == {"network", "versions"}
    write_record(tmp_path / "d.pt", record)
    torch.save(network.state_dict(), tmp_path / "d.pt")
    assert_same_weights(load(tmp_path / "d.pt")[0], network)


def test_the_mean_volume_comes_back(model):
    assert read_mean_volume(model) is None
    volume = torch.rand(1, 4, 4, 4)
    write_tensors(mean_path(model), volume)
    assert mean_path(model).name == "model_mean.pt"
    assert torch.equal(read_mean_volume(model), volume)
    mean_path(model).write_bytes(b"garbage")
    with pytest.raises(InputError, match=r"model_mean\.pt: is not the mean training volume"):
        read_mean_volume(model)


def test_a_result_names_its_model_and_no_patient(model):
    described = describe_model(model)
    assert described["checkpoint"] == "model.pt"
    assert described["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert described["acquisition"] == CHEST.record()
    assert not {"patients", "film_keys"} & set(described)
    assert described["acquisition"]["views"] == list(View)
    assert describe_model(model.with_name("absent.pt")) == {}


def test_a_network_for_any_views_is_not_bound_to_those_it_was_trained_with(tmp_path):
    """Other views of the same geometry are accepted, another geometry is not; a biplanar network accepts neither."""
    small = {"image_size": 64, "encoder_channels": [2, 2, 2], "unet_channels": [2, 2], "head_channels": [2, 2]}
    network = build_network("raylift", **small, lift_channels=[2, 2, 2])
    path = tmp_path / "model.pt"
    torch.save(network.state_dict(), path)
    write_record(path, make_record(network, CHEST, HU_WINDOW))
    one = build_network("raylift", **small, lift_channels=[2, 2, 2], views=["lateral"])
    expect = make_record(one, CHEST.replace(view_names=["lateral"]), HU_WINDOW)
    loaded, _ = load(path, expect, network=one)
    assert_same_weights(loaded, network)
    with pytest.raises(InputError, match="trained with geometry 'chest' instead of 'x2ct'"):
        load(path, make_record(one, CHEST.replace(geometry="x2ct"), HU_WINDOW))


def test_a_network_of_two_views_is_bound_to_them(model):
    with pytest.raises(InputError, match="trained with views"):
        load(model, {"acquisition": CHEST.replace(view_names=["lateral", "pa"]).record()})


def test_a_config_of_another_network_is_refused_before_weights_are_loaded(model, tmp_path):
    """MONAI's `load` would fill the tensors that fit, and keep the others as they are."""
    assert network_for(model, "replicate_unet", **ARGUMENTS).spec == build_network("replicate_unet", **ARGUMENTS).spec
    with pytest.raises(InputError, match=r"model\.pt: was trained with network arguments channels \[4, 8\], this run"):
        network_for(model, "replicate_unet", **{**ARGUMENTS, "channels": [8, 8]})
    with pytest.raises(InputError, match=r"was trained with network name 'replicate_unet', this run asks for 'cnn2d'"):
        network_for(model, "cnn2d", image_size=64)
    assert network_for(tmp_path / "none.pt", "cnn2d", image_size=64).spec["name"] == "cnn2d"


def test_weights_of_another_hash_are_refused(model, network):
    """One number of the weights changes; the record still names the hash of those before."""
    change_record(model, **{WEIGHTS_SHA256: {".pt": hashlib.sha256(model.read_bytes()).hexdigest()}})
    load(model)
    weights = network.state_dict()
    next(iter(weights.values())).flatten()[0] += 1
    torch.save(weights, model)
    with pytest.raises(InputError, match=r"model\.pt: is not the file that model\.json was written for.*copy both"):
        load(model)


def test_a_twin_without_pickle_is_loaded_and_has_a_hash_of_its_own(model, network):
    twin = write_tensors(model.with_suffix(".safetensors"), network.state_dict())
    files = {file.suffix: hashlib.sha256(file.read_bytes()).hexdigest() for file in (model, twin)}
    change_record(model, **{WEIGHTS_SHA256: files, ABOUT: {"limits": ["many"]}})
    assert_same_weights(load(twin)[0], network)
    described = describe_model(twin)
    assert (described["checkpoint"], described["sha256"]) == ("model.safetensors", files[".safetensors"])
    assert not {WEIGHTS_SHA256, ABOUT} & described.keys()
    change_record(model, **{WEIGHTS_SHA256: {**files, ".safetensors": files[".pt"]}})
    with pytest.raises(InputError, match=r"model\.safetensors: is not the file"):
        load(twin)


def test_a_network_begins_with_the_weights_of_a_model(model, network):
    other = build_network("replicate_unet", **ARGUMENTS)
    start_from(other, model)
    assert_same_weights(other, network)
    with pytest.raises(InputError, match=r"model\.pt: .* has the shape"):
        start_from(build_network("replicate_unet", image_size=64, channels=[8, 16]), model)

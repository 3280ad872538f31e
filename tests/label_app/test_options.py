"""What a request may set, and that nothing of it is run as code."""

import json

import pytest

from conventions import HU_WINDOW, InputError
from drr import Acquisition
from export import bundle_folder
from label_app import RequestError, TrainOptions, read_options, read_train_options
from label_app.options import CHOICES, shown_options
from networks import consistency_update
from transforms import StyleTransfer


def test_each_parameter_is_a_key_of_the_config():
    config = json.loads((bundle_folder() / "configs" / "inference.json").read_text())
    given = {name: choices[-1] for name, choices in CHOICES.items()}
    given |= {
        "invert": True,
        "without_preamble": True,
        "corner_text": True,
        "spacing": 0.2,
        "damping": 1,
        "voi_window": 1,
    }
    keys = read_options({**given, "device": "cuda:1"}).keys
    assert keys == {**given, "device": "cuda:1"}
    assert set(keys) <= set(config)


def test_the_choices_are_those_of_the_code():
    acquisition = Acquisition(geometry="chest", film_style="linear")
    for method in CHOICES["consistency"]:
        consistency_update(method, acquisition, HU_WINDOW, None)
    for style in ("none", "histogram"):
        StyleTransfer(style, acquisition)
    with pytest.raises(InputError, match=r"always"):
        consistency_update("always", acquisition, HU_WINDOW, None)


def test_clients_of_monai_label_send_lists_and_their_own_names():
    read = read_options('{"consistency": ["auto", "none"], "client_id": "me", "store": true}')
    assert (read.keys, read.store) == ({"consistency": "auto"}, True)
    shown = read_options(shown_options())
    assert shown.keys == {"style_transfer": "none", "consistency": "none", "field_of_view": "match", "invert": False,
                          "without_preamble": False, "corner_text": False}  # fmt: skip
    assert read_options("").keys == read_options({}).keys == {}


CODE = ["$__import__('os').system('true')", "@network", "%inferring", {"_target_": "os.system"}, ["$1"], None, b"x"]


@pytest.mark.parametrize("name", [*CHOICES, "invert", "spacing", "damping", "voi_window", "device", "store"])
@pytest.mark.parametrize("value", CODE)
def test_no_value_reaches_the_config_as_code(name, value):
    if value is None and name in ("spacing", "damping"):
        assert read_options({name: None}).keys == {name: None}
        return
    with pytest.raises(RequestError, match=f"^{name} is "):
        read_options({name: value})


@pytest.mark.parametrize(
    "name", ["checkpoint", "style_checkpoint", "pa", "output_dir", "bundle_root", "image", "save_label", "$x", ""]
)
def test_paths_and_unknown_names_are_refused(name):
    with pytest.raises(RequestError, match=r"there is no parameter .*; choose among style_transfer, consistency"):
        read_options({name: "none"})


@pytest.mark.parametrize("value", [0, -1, True, "1", 1e9, float("nan")])
def test_numbers_that_cannot_be(value):
    with pytest.raises(RequestError, match="spacing is a positive number or null"):
        read_options({"spacing": value})


@pytest.mark.parametrize("params", ["{", "[]", "3", "[" * 100_000])
def test_what_is_no_object_is_refused(params):
    with pytest.raises(RequestError, match="params"):
        read_options(params)


def test_training_parameters():
    assert read_train_options(None) == TrainOptions()
    read = read_train_options({"max_epochs": 3, "pretrained": False, "device": ["cpu"], "client_id": 1})
    assert read == TrainOptions(max_epochs=3, pretrained=False)
    for name, value in (("max_epochs", "$1"), ("max_epochs", 0), ("max_epochs", True), ("batch_size", 1.5),
                        ("pretrained", "$True"), ("device", "$x"), ("validation", None)):  # fmt: skip
        with pytest.raises(RequestError, match=f"^{name} is "):
            read_train_options({name: value})
    with pytest.raises(RequestError, match="there is no parameter 'run_id'; choose among max_epochs"):
        read_train_options({"run_id": "x"})

"""`python -m reports` as a command."""

import json
import subprocess
import sys

import pytest
from monai.utils import set_determinism

from conventions import InputError, input_error_in
from reports.__main__ import style


@pytest.mark.parametrize(("command", "named"), [("style", "--renderings"), ("summary", "FOLDER")])
def test_help_is_asked_for_and_no_error(root, command, named):
    """Also where a command takes any option, as `style` does."""
    done = subprocess.run(
        [sys.executable, "-m", "reports", command, "--help"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert named in done.stdout + done.stderr


@pytest.fixture
def folders(tmp_path):
    """Films and CTs that are files by name alone, so that a command which reads one fails."""
    films, cts = tmp_path / "films", tmp_path / "cts"
    for folder, names in ((films, [f"{n}_pa.png" for n in range(4)] + ["0_lateral.png"]), (cts, "abcd")):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    cases = [{"case": name, "patient": name, "ct": name, "fold": "test"} for name in "abcd"]
    cases[0]["fold"] = "train"
    (cts / "manifest.json").write_text(json.dumps({"cases": cases}))
    yield str(films), str(cts)
    set_determinism(None)


ALL, PA = ("train", "test"), ["pa"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"folds": "test"}, r"3 CTs, 4 or more .* more folds of their manifest \(--folds\)", id="CTs"),
        pytest.param({"folds": ALL}, r"1 lateral films, 4 or more .* \(--views \"\['pa'\]\"\)", id="films"),
        pytest.param(
            {"folds": ALL, "views": PA, "renderings": 2}, "every rendering .* --overlays augmented", id="same"
        ),
        pytest.param({"overlays": "chest,augmentd"}, "augmentd.json: there is no such overlay", id="overlay"),
        pytest.param({"rendering": 2}, "nothing reads the key 'rendering'", id="misspelt"),
    ],
)
def test_style_counts_before_it_prepares_anything(folders, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        style(*folders, output_dir=str(tmp_path / "out"), **{"image_size": 64, "device": "cpu", **options})
    assert not (tmp_path / "out").exists()


def test_style_reads_films_once_the_numbers_are_right(folders, tmp_path):
    with pytest.raises(RuntimeError) as caught:
        style(*folders, str(tmp_path / "out"), folds=ALL, views=PA, renderings=2, overlays="augmented", image_size=64)
    assert "0 of 5 films can be used" in input_error_in(caught.value)

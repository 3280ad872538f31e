"""The gallery of an evaluation of phantoms whose errors are known."""

import re

import pytest
import torch
from PIL import Image

from benchmarks.gallery import WIDTH, write_gallery
from conventions import InputError
from export import write_png16
from tests.reports.evaluations import ACQUISITION, chests, write_evaluation
from transforms import RayCastDRR

PSNR_DB = {"a": 30.0, "b": 20.0, "c": 25.0}


@pytest.fixture
def folder(tmp_path):
    made = write_evaluation(tmp_path / "run", lambda number: chests()[number] + 50.0)
    for case, volume in zip(PSNR_DB, chests(), strict=False):
        image = RayCastDRR(ACQUISITION)(torch.from_numpy(volume)[None]).numpy()
        for view, pixels in zip(ACQUISITION.view_names, image, strict=True):
            write_png16(made / "radiographs" / f"{case}_{view}.png", pixels)
    rows = "\n".join(f"{case},{value},-12.6" for case, value in PSNR_DB.items())
    (made / "cases.csv").write_text(f"case,psnr_db/prediction,lung_total_ml_error/prediction\n{rows}\n")
    return made


def test_the_worst_case_comes_first_with_its_figures_and_its_picture(folder, tmp_path):
    page = write_gallery(folder, tmp_path / "docs" / "gallery.md", cases=2, note="Phantoms of\n ours.")
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["b", "a"]
    assert "PSNR 20.0 dB, lung volume -13 ml" in text
    assert "not for diagnosis" in text
    assert "Phantoms of ours.\n" in text
    for name in re.findall(r"\((images/.*?)\)", text):
        with Image.open(page.parent / name) as picture:
            assert (picture.format, picture.width) == ("JPEG", WIDTH)


@pytest.mark.parametrize(
    ("files", "words"), [("volumes/b*", "holds no predicted volume of 'b'"), ("radiographs/b*", "the radiographs of b")]
)
def test_an_evaluation_without_volumes_or_radiographs_is_refused_and_no_page_is_written(folder, tmp_path, files, words):
    for file in folder.glob(files):
        file.unlink()
    with pytest.raises(InputError, match=words):
        write_gallery(folder, tmp_path / "gallery.md", cases=2)
    assert not (tmp_path / "gallery.md").exists()
    assert not (tmp_path / "images").exists()

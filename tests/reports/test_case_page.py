"""The page of a case, read without a browser."""

import base64
import gzip
import hashlib
import io
import re
from html.parser import HTMLParser

import nibabel
import numpy as np
import pytest
from PIL import Image

from conventions import SYNTHETIC_STATEMENT, InputError
from drr import Acquisition, ParallelBeam, VolumeGrid
from export import write_nifti, write_png16, write_truth
from reports import cases_to_show, read_case, read_measures, write_case_page, write_pages
from reports.case_page import ray_support
from reports.page import ASSETS
from reports.viewer import LICENCE, NIIVUE, nifti
from tests.reports.case_phantom import ACQUISITION, SPHERE_LPS, case, phantom

VOID = {"meta", "img", "input", "br"}


class Balanced(HTMLParser):
    """Parser that refuses a tag that is closed in another order than it was opened."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_case_page(tmp_path_factory.mktemp("page") / "case.html", case()).read_text()


def pictures(page):
    """Caption -> pixels and letters of each picture."""
    found = {}
    form = r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)">((?:<i>[^<]*</i>)*)'
    for words, data, letters in re.findall(form, page):
        found[words] = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), re.findall(r"<i>(.*?)</i>", letters)
    return found


def test_it_is_well_formed_and_needs_no_network(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "://" not in page
    addresses = [attrs[name] for _, attrs in parser.tags for name in ("src", "href") if name in attrs]
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "default-src 'none'" in next(attrs["content"] for tag, attrs in parser.tags if "http-equiv" in attrs)


def test_names_are_escaped_and_the_notice_comes_first(page):
    assert "<b>" not in page
    body = page[page.index("<body>") :]
    assert body.index(SYNTHETIC_STATEMENT) < body.index("<h1>a &lt;b&gt; &amp; c</h1>")
    assert "network raylift; model model.pt; SHA-256 0000000000000000; x2ct-bundle" in page


def test_what_can_be_operated_has_a_name(page):
    parser = Balanced()
    parser.feed(page)
    sliders = [attrs["id"] for tag, attrs in parser.tags if tag == "input"]
    labels = [attrs["for"] for tag, attrs in parser.tags if tag == "label" and "for" in attrs]
    assert sliders == labels == ["slice-axial", "slice-coronal", "slice-sagittal"]
    assert len(re.findall(r"<label>[A-Z]\w+ <select", page)) == page.count("<select") == 3
    assert all("aria-label" in attrs for tag, attrs in parser.tags if tag == "canvas")


def test_left_is_left_in_the_radiograph(page):
    found = pictures(page)
    assert found["true CT, axial"][1] == ["A", "P", "R", "L"]
    assert found["radiograph, PA"][1] == ["H", "F", "R", "L"]
    pa = found["radiograph, PA"][0].astype(float)
    without = pa - np.minimum(pa, pa[:, ::-1])  # what the other side lacks
    rows, columns = np.nonzero(without > 20)
    assert columns.mean() > 17
    assert rows.mean() < 14


def test_volumes_are_placed_in_the_patient():
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(nifti(phantom(), ACQUISITION.grid, 4, "x")))
    voxels = np.argwhere(image.get_fdata() > 900)
    centre = nibabel.affines.apply_affine(image.affine, voxels).mean(axis=0)  # RAS
    np.testing.assert_allclose(centre, np.multiply(SPHERE_LPS, (-1, -1, 1)), atol=5)


def test_a_page_of_small_volumes_is_little_more_than_the_viewer(page):
    assert len(page) < 1.07e6 + 0.35e6


def test_the_viewer_is_the_one_of_npm():
    content = gzip.decompress((ASSETS / NIIVUE).read_bytes())
    # of dist/niivue.umd.js in the package @niivue/niivue 0.69.0
    assert hashlib.sha256(content).hexdigest() == "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
    assert "BSD 2-Clause License" in (ASSETS / LICENCE).read_text()


def test_a_case_of_films_alone_shows_no_truth_and_every_doubt(tmp_path):
    films = [{"view": "pa", "decisions": [{"kind": "doubt", "subject": "polarity", "text": "1 < 2"}]}]
    page = write_case_page(tmp_path / "a.html", case(truth_hu=None, measures={}, films=films)).read_text()
    assert "true CT" not in page
    assert '<p class="doubt">polarity: 1 &lt; 2</p>' in page
    assert "Measures" not in page


def test_ray_support_is_the_box_that_a_small_detector_sees():
    """A parallel beam sees what lies before its detector: here half the width and half the height of the volume."""
    views = [ParallelBeam.pa(detector_size=160, detector_shape=(16, 16))]
    support = ray_support(Acquisition(grid=VolumeGrid(16, 20.0), geometry=views))
    expected = np.zeros((16, 16, 16))
    expected[4:12, :, 4:12] = 1
    np.testing.assert_array_equal(support, expected)


def test_ray_support_of_the_paper_leaves_as_much_unseen_as_was_measured_elsewhere():
    """9.3 % of the voxels lie in no view of the authors' geometry, by another implementation."""
    assert (ray_support(Acquisition(grid=VolumeGrid(64, 5.0))) == 0).mean() == pytest.approx(0.093, abs=0.001)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"truth_hu": np.zeros((32, 32, 16))}, "truth_hu has the shape"),
        ({"prediction_hu": np.full((32, 32, 32), np.nan)}, "prediction_hu holds values that are not finite"),
        ({"image": np.zeros((1, 32, 32))}, "image has the shape"),
    ],
)
def test_what_does_not_belong_together_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        case(**changes)


def test_a_case_is_read_back_from_what_an_evaluation_wrote(tmp_path):
    made, affine = case(case="c"), ACQUISITION.grid.affine()
    write_nifti(
        tmp_path / "volumes" / "c.nii.gz", made.prediction_hu, affine, made.model, acquisition=ACQUISITION.record()
    )
    write_truth(tmp_path / "volumes" / "c_truth.nii.gz", made.truth_hu, affine)
    for view, pixels in zip(ACQUISITION.view_names, made.image, strict=True):
        write_png16(tmp_path / "radiographs" / f"c_{view}.png", pixels)
    (tmp_path / "cases.csv").write_text("case,psnr_db/prediction,note\nc,21.25,x\n")
    read = read_case(tmp_path, "c")
    np.testing.assert_array_equal(read.prediction_hu, made.prediction_hu)
    np.testing.assert_array_equal(read.truth_hu, made.truth_hu)
    np.testing.assert_allclose(read.image, made.image, atol=1e-5)
    assert read.measures == {"psnr_db/prediction": 21.25}
    assert [path.name for path in write_pages(tmp_path, ["c"])] == ["c.html"]
    with pytest.raises(InputError, match="holds no predicted volume of 'd'; give the output_dir"):
        read_case(tmp_path, "d")


def test_three_pages_are_the_worst_the_median_and_the_best():
    measures = {name: {"psnr_db/prediction": value} for name, value in zip("abcde", (5.0, 3.0, 4.0, 1.0, 2.0))}  # noqa: B905
    assert cases_to_show(measures, 3) == ["d", "b", "a"]
    assert cases_to_show(measures, 1) == ["b"]
    assert cases_to_show(measures, 0) == []
    assert len(cases_to_show(measures, 9)) == 5


def test_a_case_without_error_is_the_best(tmp_path):
    (tmp_path / "cases.csv").write_text("case,psnr_db/prediction,lung_hd95_mm/prediction\na,20,3\nb,inf,nan\nc,30,\n")
    measures = read_measures(tmp_path)
    assert cases_to_show(measures, 2) == ["a", "b"]
    assert measures["b"] == {"psnr_db/prediction": float("inf")}

"""The viewer of a page in a real browser: what it draws, where left is, and that it fetches nothing."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from reports import write_case_page
from tests.reports.case_phantom import case

playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright (the extra `dev`)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]

SOFTWARE = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_case_page(tmp_path_factory.mktemp("page") / "case.html", case())


@pytest.fixture(scope="module")
def opened(browser, file):
    """The page once its viewer is ready, and what it complained of or asked for until the end of the tests."""
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.noise = []
    page.on("console", lambda message: page.noise.append(message.text) if message.type in ("error", "warning") else 0)
    page.on("pageerror", lambda error: page.noise.append(str(error)))
    page.on("request", lambda request: page.noise.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("#viewer[data-state='ready']", timeout=120_000)
    playwright.expect(page.locator("output.values")).not_to_be_empty(timeout=120_000)
    return page


def drawn(page, pane=0):
    """Pixels of a pane, (rows, columns, 3) in 0 to 255."""
    page.wait_for_timeout(300)
    shot = page.locator("canvas").nth(pane).screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(float)


def slide(page, plane, number):
    page.locator(f"#slice-{plane}").fill(str(number))


def test_it_starts_without_errors_and_requests(opened, file):
    own = [url for url in opened.noise if not url.startswith(("data:", "blob:"))]
    assert own == [file.as_uri()]


def test_the_window_changes_the_picture(opened):
    opened.select_option("select[name=view]", "axial")
    slide(opened, "axial", 24)  # below the sphere: body at 40 HU and air alone
    grey = {}
    for window in ("Lung", "Soft tissue", "Bone"):
        opened.get_by_role("button", name=window).click()
        picture = drawn(opened)
        rows, columns = picture.shape[:2]
        patch = picture[int(0.56 * rows) : int(0.6 * rows), int(0.56 * columns) : int(0.6 * columns)]
        grey[window] = patch.mean()
    # 40 HU in windows from -1350 to 150, from -160 to 240 and from -500 to 1500
    for window, share in (("Lung", 1390 / 1500), ("Soft tissue", 200 / 400), ("Bone", 540 / 2000)):
        assert grey[window] == pytest.approx(255 * share, abs=6), grey


@pytest.mark.parametrize(
    ("view", "right", "top"), [("axial", True, True), ("coronal", True, True), ("sagittal", False, True)]
)
def test_left_is_left(opened, view, right, top):
    """The sphere lies at the left, the front and the head: where the letters L, A and S are."""
    opened.get_by_role("button", name="Bone").click()
    opened.select_option("select[name=view]", view)
    for plane, number in (("axial", 8), ("coronal", 10), ("sagittal", 23)):  # through the sphere
        slide(opened, plane, number)
    picture = drawn(opened)
    rows, columns = np.nonzero(picture.min(axis=2) > 150)
    height, width = picture.shape[:2]
    assert (columns.mean() > width / 2) == right
    assert (rows.mean() < height / 2) == top


def has_upper_right(picture):
    """Whether the yellow letter in a picture has ink in its upper right quarter, as an R has and an L has not."""
    ink = (picture[..., 0] > 150) & (picture[..., 1] > 150) & (picture[..., 2] < 120)
    rows, columns = np.nonzero(ink)
    assert len(rows) > 15
    letter = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert letter[-3:, letter.shape[1] // 2 :].any() or letter[:, : letter.shape[1] // 2].any()
    return bool(letter[: letter.shape[0] // 2 - 1, letter.shape[1] // 2 + 1 :].any())


def test_the_letters_stand_at_these_sides(opened):
    opened.select_option("select[name=view]", "axial")
    slide(opened, "coronal", 3)  # takes the cross-hair away from the letters
    picture = drawn(opened)
    height, width = picture.shape[:2]
    middle = picture[int(0.45 * height) : int(0.55 * height)]
    assert has_upper_right(middle[:, : width // 10])
    assert not has_upper_right(middle[:, -width // 10 :])


def test_the_values_at_the_cross_hair_are_those_of_the_volumes(opened):
    for plane, number in (("axial", 8), ("coronal", 10), ("sagittal", 23)):
        slide(opened, plane, number)
    words = opened.inner_text("output.values")
    assert words.startswith("65 mm L, 65 mm A, 85 mm H:") or words.startswith("65 mm L, 55 mm A, 85 mm H:"), words
    assert "true CT 1000 HU; synthetic CT 1100 HU; absolute error 100 HU" in words


def test_it_is_operated_by_the_keyboard(opened):
    opened.locator("[data-window='Lung']").focus()
    opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    assert opened.locator("[data-window='Soft tissue']").get_attribute("aria-pressed") == "true"
    opened.locator("#slice-axial").focus()
    before = opened.locator("#slice-axial").input_value()
    opened.keyboard.press("ArrowRight")
    assert opened.locator("#slice-axial").input_value() == str(int(before) + 1)
    assert f"{int(before) + 1} of 32" in opened.inner_text(".slices")


def test_a_volume_is_chosen_by_name(opened):
    before = drawn(opened, 1)
    opened.locator(".pane select").nth(1).select_option("error")
    assert not np.array_equal(before, drawn(opened, 1))
    assert opened.locator(".scale").nth(1).inner_text() == "0 to 500 HU"


def test_a_browser_without_webgl_says_so_and_shows_the_planes(browser, file):
    page = browser.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(file.as_uri())
    page.wait_for_selector("#viewer[data-state='unsupported']")
    assert "no WebGL2" in page.inner_text("[role=status]")
    assert not page.locator("canvas").first.is_visible()
    assert page.locator("img[alt='true CT, axial']").first.is_visible()
    page.close()

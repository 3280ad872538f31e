"""Tables that are sorted in a real browser, by keyboard."""

import shutil

import pytest

from reports.page import asset, document, table

playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright (the extra `dev`)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]


def test_numbers_are_sorted_by_value_and_gaps_stand_last(tmp_path):
    rows = [["b", "10.0"], ["c", ""], ["a", "-9.5"], ["d", "+2.0"]]
    body = table(["case", "psnr"], rows, numbers=True, sortable=True) + f"<script>{asset('sort.js')}</script>"
    file = tmp_path / "page.html"
    file.write_text(document("x", body))
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(file.as_uri())

        def press(column):
            page.get_by_role("button", name=column).focus()
            page.keyboard.press("Enter")
            return "".join(page.locator("tbody td:first-child").all_inner_texts())

        assert (press("psnr"), press("psnr")) == ("adbc", "bdac")
        assert page.locator("th").nth(1).get_attribute("aria-sort") == "descending"
        assert (press("case"), press("case")) == ("abcd", "dcba")
        assert page.locator("th").nth(1).get_attribute("aria-sort") == "none"
        browser.close()

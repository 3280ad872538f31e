import pytest

from benchmarks.report import replace_section
from conventions import InputError


def test_each_section_is_replaced_alone(tmp_path):
    page = tmp_path / "page.md"
    replace_section(page, "One", ["first"])
    replace_section(page, "Two", ["second", ""])
    replace_section(page, "One", ["### third", "", "| a |"])
    assert page.read_text().split("\n\n", 2)[2] == (
        "<!-- begin: One -->\n\n## One\n\n### third\n\n| a |\n\n<!-- end: One -->\n\n"
        "<!-- begin: Two -->\n\n## Two\n\nsecond\n\n<!-- end: Two -->\n"
    )


def test_a_section_without_its_end_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: One -->\n\nfigures\n")
    with pytest.raises(InputError, match=r"page\.md: the line '<!-- end: One -->' is missing; put it back"):
        replace_section(page, "One", ["new"])
    assert "figures" in page.read_text()

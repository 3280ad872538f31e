"""docs/drr.md and the help of `python -m drr` say what is true."""

import re
import shlex

import fire
import numpy as np
import pytest

from drr import CURVES, FILM_STYLES, PRESETS, preset
from drr.__main__ import render


@pytest.fixture(scope="session")
def page(root):
    return (root / "docs" / "drr.md").read_text(encoding="utf-8")


def commands(text):
    return [shlex.split(line)[3:] for line in map(str.strip, text.splitlines()) if line.startswith("python -m drr ")]


def test_the_python_examples_run(page):
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 6
    namespace = {}
    for block in blocks:  # a later one may use what an earlier one made
        exec(block, namespace)
    assert (namespace["angle"].grad != 0).all()
    assert namespace["again"].source == pytest.approx(namespace["pa"].source, abs=1e-6)
    assert namespace["recorded"] == namespace["acquisition"]
    difference = namespace["recorded"].replace(geometry="x2ct").difference(namespace["acquisition"])
    assert f'  # "{difference}"' in page


def test_the_commands_run(page, tmp_path, monkeypatch, write_ct, asymmetric_thorax):
    write_ct(asymmetric_thorax, name="chest.nii.gz")
    monkeypatch.chdir(tmp_path)
    found = commands(page)
    assert len(found) == 5
    for i, arguments in enumerate(found):
        out = tmp_path / str(i)
        small = [] if "--detector_shape" in arguments else ["--detector_shape=32"]
        fire.Fire(render, [*(str(out) if word == "out" else word for word in arguments), *small])
        assert (out / "check.png").exists()
    assert {path.stem for path in (tmp_path / "2").glob("*.dcm")} == {"oblique_0", "oblique_45", "oblique_90"}


def test_the_help_has_examples_of_options_that_exist():
    found = commands(render.__doc__)
    assert len(found) >= 3
    for arguments in found:
        options = {word.removeprefix("--") for word in arguments if word.startswith("--")}
        assert options <= set(render.__annotations__)


def test_every_choice_is_listed(page):
    for name in (*CURVES, *FILM_STYLES, *PRESETS):
        assert f"| `{name}` |" in page
        assert name in render.__doc__


@pytest.mark.parametrize("name", PRESETS)
def test_the_numbers_of_the_presets(page, name):
    rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` | ") and line.count("|") == 9]
    for row, view in zip(rows, preset(name), strict=True):
        towards = np.array(view.source) / view.sod * 100
        detector = view.field_at_isocentre[0] * view.magnification()
        near, far = view.magnification(towards), view.magnification(-towards)
        numbers = [float(v) for v in re.findall(r"[\d.]+", row.split("|", 3)[3])]
        expected = [view.sdd, view.sod, detector, view.magnification(), near, far, view.field_at_isocentre[0]]
        assert numbers == pytest.approx(expected, abs=0.06)
        np.testing.assert_allclose(numbers[3:6], expected[3:6], atol=6e-4)

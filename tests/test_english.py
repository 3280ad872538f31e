"""Docstrings begin with a verb or a noun and keep to everyday words; see the rules in CONTRIBUTING.md."""

import ast
import re
from pathlib import Path

import pytest

BAD_OPENINGS = ("Of ", "See ")
"""Openings that leave the reader without a verb or a noun."""

BAD_WORDS = ("anew", "likewise", "to be had", "told", "whoever")
"""Words with a plainer equivalent."""

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def texts(path):
    """Line and text of every docstring, and of every string that stands below a constant to document it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def faults(text):
    words = rf"\b({'|'.join(BAD_WORDS)})\b"
    return [*(o.strip() for o in BAD_OPENINGS if text.startswith(o)), *re.findall(words, text, re.IGNORECASE)]


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings(package):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {', '.join(faults(text))}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in texts(path)
        if faults(text)
    ]
    assert not found, "\n".join(["say it in other words:", *found])

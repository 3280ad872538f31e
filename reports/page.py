"""Build the pieces of an HTML page that needs no network: its frame, its notice, its pictures and its tables."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from monai.utils import optional_import

Image, _ = optional_import("PIL.Image")

ASSETS = Path(__file__).parent / "assets"
"""Folder of the style sheets and scripts that a page contains."""

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)
"""Content security policy of every page: a browser then refuses to fetch anything."""


def document(title: str, body: str, styles: Iterable[str] = ()) -> str:
    """Return a whole page.

    Args:
        title: title of the page, plain text.
        body: HTML of the page.
        styles: names of further style sheets among the assets.
    """
    sheets = "".join(asset(f"{name}.css") for name in ("page", *styles))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{sheets}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def asset(name: str) -> str:
    """Return the text of an asset."""
    return (ASSETS / name).read_text(encoding="utf-8")


def data_uri(png: bytes) -> str:
    """Return a PNG as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def notice(words: str) -> str:
    """Return the band that says what must not be overlooked, `words` in plain text."""
    return f'<p class="notice" role="note">{html.escape(words)}</p>'


def doubts(decisions: Iterable[Any], before: str = "") -> str:
    """Return the doubts among decisions, each in a paragraph.

    Args:
        decisions: decisions as `DecisionRecord.to_list` returns them.
        before: plain text before each doubt.
    """
    return "".join(
        f'<p class="doubt">{html.escape(before + one["subject"])}: {html.escape(one["text"])}</p>'
        for one in decisions
        if one["kind"] == "doubt"
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: bool = False,
    sortable: bool = False,
    links: Mapping[str, str] | None = None,
) -> str:
    """Return a table.

    Args:
        header: titles of the columns, plain text.
        rows: the cells of each row, plain text.
        numbers: whether all columns but the first hold numbers, which are set to the right.
        sortable: whether the script `sort.js`, which the page has to contain, sorts it by any column.
        links: first cell -> relative path of the page that it leads to.
    """
    kind, paths = ' class="number"' if numbers else "", links or {}
    top = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in header)
    lines = "".join(
        f"<tr><td>{link(first, paths[first]) if first in paths else html.escape(first)}</td>"
        f"{''.join(f'<td{kind}>{html.escape(cell)}</td>' for cell in cells)}</tr>\n"
        for first, *cells in rows
    )
    kind = ' class="sortable"' if sortable else ""
    return f"<table{kind}>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table>\n"


def link(words: str, path: str) -> str:
    """Return a link to another page.

    Args:
        words: plain text.
        path: path of the page, relative to that of this one.
    """
    return f'<a href="{html.escape(quote(path))}">{html.escape(words)}</a>'


def model_words(model: Mapping[str, Any]) -> list[str]:
    """Return what a model's record says of it, as short phrases in plain text.

    Args:
        model: the record, as `networks.describe_model` returns it.
    """
    words = [f"network {model.get('network', {}).get('name', 'unknown')}"]
    if model.get("checkpoint"):
        words.append(f"model {model['checkpoint']}")
    if model.get("sha256"):
        words.append(f"SHA-256 {model['sha256'][:16]}")
    return words


def picture(
    pixels: np.ndarray, caption: str, letters: Sequence[str], colours: dict[str, Any], view: int | None = None
) -> str:
    """Return an image with the patient's sides at its edges and a caption.

    Args:
        pixels: (rows, columns).
        caption: plain text; also what is read to those who do not see the picture.
        letters: letters at the top, bottom, left and right edge.
        colours: `cmap`, `vmin` and `vmax`, as in `draw_picture`.
        view: number of the view that the image shows; the viewer marks its place in it.
    """
    edges = "".join(f"<i>{html.escape(letter)}</i>" for letter in letters)
    where = "" if view is None else f' data-view="{view}"'
    words = html.escape(caption)
    return (
        f'<figure class="picture"><span class="film"{where}><img alt="{words}" src="{data_uri(png(pixels, colours))}">'
        f"{edges}</span><figcaption>{words}</figcaption></figure>\n"
    )


def png(pixels: np.ndarray, colours: dict[str, Any]) -> bytes:
    """Return an image (rows, columns) as a PNG, in the colours of `picture`; NaN becomes black."""
    scaled = np.nan_to_num(Normalize(colours["vmin"], colours["vmax"], clip=True)(pixels).filled(0))
    grey = colours["cmap"] == "gray"
    content = np.rint(255 * scaled) if grey else matplotlib.colormaps[colours["cmap"]](scaled, bytes=True)[..., :3]
    file = io.BytesIO()
    Image.fromarray(content.astype(np.uint8)).save(file, format="PNG", optimize=True)
    return file.getvalue()

"""Make each case and each film of a cohort once, and record what it was made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any

from conventions import input_error_in
from storage import digest_of, write_json

RECORDS = "records"
"""Folder of the records of a cohort, one for each file that is made."""


def make_once(
    name: str,
    source: Path,
    destination: Path,
    file: str,
    made_of: Callable[[], dict[str, Any]],
    make: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
    """Make a file of a cohort, unless it was made already of the same.

    Args:
        name: name of the case or film.
        source: what it is made of, named in errors.
        destination: folder of the cohort.
        file: file that is made, relative to that folder.
        made_of: function that says what decides about it: digests and options.
        make: function that makes it, and returns its entry of the manifest, with the digest of the file as `sha256`.

    Returns:
        Its entry; or {"name", "refused": sentence} where it is refused.
    """
    record_file = destination / RECORDS / f"{name}.json"
    for part in (destination / file, record_file):
        for unfinished in part.parent.glob(f".*-{escape(part.name)}"):
            unfinished.unlink(missing_ok=True)  # of a run that was killed
    try:
        known = made_of()
        finished = _finished(record_file, known, destination / file)
        if finished is not None:
            return finished
        entry = make()
    except Exception as error:
        reason = input_error_in(error)
        if reason is None and not isinstance(error, (OSError, MemoryError)):
            raise
        return {"name": name, "refused": reason or f"{source}: cannot be prepared ({error})"}
    write_json(record_file, {"made_of": known, "entry": entry})
    return entry


def _finished(record_file: Path, made_of: dict[str, Any], file: Path) -> dict[str, Any] | None:
    """Return the entry of a file that is finished, made of the same, and whole."""
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        entry: dict[str, Any] = record["entry"]
        if record["made_of"] != made_of or digest_of(file) != entry["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry

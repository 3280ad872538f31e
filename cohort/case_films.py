"""Find the real films of the patients of a fold, next to their CTs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conventions import InputError, Keys

from .datalist import load_datalist, read_cases
from .ready import NO_COHORT
from .split import manifest_of

logger = logging.getLogger("x2ct.cohort")


def films_of_cases(
    manifest: str | os.PathLike[str] | None, fold: str, views: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Find films of each view for the cases of a fold; of several, those nearest in time to the CT.

    Args:
        manifest: manifest of a cohort that `python -m cohort prepare` made, or the folder that holds it.
        fold: one of `FOLDS`.
        views: names of the views.

    Returns:
        Case -> {"image": files in the order of the views, "days": from the CT to the film that is farthest from it,
        negative where it is older, NaN where one is not known}. Cases that lack a view are left out, and counted in a
        warning.

    Raises:
        InputError: where the manifest lists no film of any CT, no case of the fold has a film of each view, or a film
            is missing.
    """
    if manifest in (None, ""):
        raise InputError(NO_COHORT)
    path = manifest_of(Path(str(manifest)))
    names = [item[Keys.CASE] for item in load_datalist(manifest, fold)]
    listed = {case["case"]: case.get("films", []) for case in read_cases(path)}
    if not any(listed.values()):
        raise InputError(
            f"{path}: lists no film of any CT; leave out --films, or make a cohort of a folder that holds DICOM films "
            "of the same patients with: python -m cohort prepare"
        )
    found = {case: chosen for case in names if (chosen := _choose(listed[case], views, path)) is not None}
    if not found:
        raise InputError(
            f"{path}: none of the {len(names)} cases of fold {fold!r} has a film of each view ({', '.join(views)}); "
            "leave out --films, or evaluate another fold"
        )
    if len(found) < len(names):
        logger.warning(
            "%d of %d cases have no film of each view (%s), so nothing is measured on films there",
            len(names) - len(found),
            len(names),
            ", ".join(views),
        )
    return found


def _choose(films: Sequence[Mapping[str, Any]], views: Sequence[str], path: Path) -> dict[str, Any] | None:
    """Choose the film of each view that is nearest to the CT; None where a view is missing."""
    try:
        in_order = sorted(films, key=_distance)
        chosen = [next((film for film in in_order if film["view"] == view), None) for view in views]
        if None in chosen:
            return None
        taken = [film for film in chosen if film is not None]
        files = [path.parent / str(film["film"]) for film in taken]
        days = [film["days"] for film in taken]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: an entry of films is damaged ({error!r}); prepare the cohort again with: python -m cohort prepare"
        ) from error
    for file in files:
        if not file.is_file():
            raise InputError(f"{path}: lists {file}, which does not exist; prepare the cohort again")
    farthest = float("nan") if None in days else float(max(days, key=abs))
    return {Keys.IMAGE.value: [str(file) for file in files], "days": farthest}


def _distance(film: Mapping[str, Any]) -> tuple[bool, int, int, str]:
    days = film["days"]
    return (days is None, abs(days or 0), days or 0, film["film"])

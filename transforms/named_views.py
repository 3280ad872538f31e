"""Check that real films can be brought to an acquisition."""

from __future__ import annotations

from conventions import InputError, View
from drr import Acquisition


def named_views(acquisition: Acquisition) -> tuple[str, tuple[View, ...]]:
    """Return the preset and the views of an acquisition that real films can be brought to.

    The place of the lungs and the spread of the tones are known for PA and lateral of the presets only.

    Args:
        acquisition: acquisition that a model was trained for.

    Raises:
        InputError: where its geometry is not a preset, or a view is neither PA nor lateral.
    """
    if not isinstance(acquisition.geometry, str):
        raise InputError("films can only be brought to the geometry of a preset, but this acquisition has other views")
    unknown = [view for view in acquisition.view_names if view not in tuple(View)]
    if unknown:
        raise InputError(
            f"films can only be brought to {' and '.join(View)}, but this acquisition has {', '.join(unknown)}"
        )
    return acquisition.geometry, tuple(View(view) for view in acquisition.view_names)

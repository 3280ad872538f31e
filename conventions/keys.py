"""The keys of a batch dictionary."""

from __future__ import annotations

from enum import StrEnum


class Keys(StrEnum):
    """Keys of an item, a batch and an engine's output; MONAI's own where MONAI has one."""

    IMAGE = "image"
    """Radiographs (B, views, rows, columns), float32 in [0, 1], bright = dense."""
    LABEL = "label"
    """Volume (B, 1, D, H, W): HU before windowing, unit values after."""
    PRED = "pred"
    """Predicted volume (B, 1, D, H, W)."""
    LOSS = "loss"
    """Scalar total loss of the generator."""
    MEAN_VOLUME = "mean_volume"
    """Mean of the training volumes, the prediction of a model that ignores its input (B, 1, D, H, W)."""
    OTHER_IMAGE = "other_image"
    """Radiographs of another patient (B, views, rows, columns)."""
    SHUFFLED_INPUT = "shuffled_input"
    """Volume predicted from another patient's radiographs (B, 1, D, H, W)."""
    GEOMETRY = "geometry"
    """Views as a tensor (B, views, 4, 3) in mm, LPS, as `drr.geometry_tensor` returns them."""
    FIELD = "field"
    """Field of the films (B, views, rows, columns), bool: true where something is measured, false outside the film,
    under a border or a known marker, and beyond the model's volume. Where it is absent, everything is measured."""
    FILMS = "films"
    """JSON text with view, place and decisions of each film, as `readers.pack_films` returns it."""
    FILM_PICTURES = "film_pictures"
    """Pictures of the films (B, views, rows, columns), uint8, as `readers.pack_films` returns them."""
    OTHER_GEOMETRY = "other_geometry"
    """Views of another patient's radiographs (B, views, 4, 3) in mm, LPS."""
    REAL = "real"
    """Film that a translator learns from (B, 1, rows, columns), float32 in [0, 1], bright = dense."""
    DRR = "drr"
    """DRR that a translator learns from (B, 1, rows, columns), float32 in [0, 1], bright = dense."""
    VIEW = "view"
    """Name of the view of a film."""
    CASE = "case"
    """Name of one patient scan."""
    PATIENT = "patient"
    """Name of the patient a case belongs to; folds never share one."""

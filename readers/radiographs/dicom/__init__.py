"""Read a DICOM radiograph: CR, DX or RF, of one grey frame."""

from .reading import read_dicom as read_dicom
from .view import view_of_position as view_of_position

"""Read a DICOM radiograph: CR, DX or RF, of one grey frame."""

from .copying import copy_film as copy_film
from .reading import read_dicom as read_dicom
from .view import VIEW_TAGS as VIEW_TAGS
from .view import dataset_view as dataset_view
from .view import study_and_view as study_and_view

"""Read a CT from DICOM: a series of slices, or all frames in one file."""

from .reading import read_dicom_ct as read_dicom_ct

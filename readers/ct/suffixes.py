"""Suffixes of the CT formats."""

NIFTI_SUFFIXES = (".nii", ".nii.gz")
"""Suffixes of NIfTI files, in lower case."""

ITK_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
"""Suffixes of the other formats that ITK reads as one file, in lower case."""

CT_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)
"""Suffixes of all CT formats of one file; a DICOM series is a folder."""

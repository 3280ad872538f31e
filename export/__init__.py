"""Results out, each marked as synthetic."""

from .nifti import SYNTHETIC_STATEMENT as SYNTHETIC_STATEMENT
from .nifti import NiftiWriter as NiftiWriter
from .nifti import write_nifti as write_nifti

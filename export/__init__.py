"""Results out, each marked as synthetic."""

from .nifti import SYNTHETIC_STATEMENT as SYNTHETIC_STATEMENT
from .nifti import NiftiWriter as NiftiWriter
from .nifti import write_nifti as write_nifti
from .radiographs import DRR_STATEMENT as DRR_STATEMENT
from .radiographs import new_uid as new_uid
from .radiographs import write_dicom_radiograph as write_dicom_radiograph
from .radiographs import write_png16 as write_png16
from .radiographs import write_radiograph_nifti as write_radiograph_nifti

"""Write results to files, each marked as computed."""

from .archive import write_archive as write_archive
from .nifti import write_nifti as write_nifti
from .nifti import write_truth as write_truth
from .radiographs import new_uid as new_uid
from .radiographs import write_dicom_radiograph as write_dicom_radiograph
from .radiographs import write_png16 as write_png16
from .radiographs import write_radiograph_nifti as write_radiograph_nifti

"""Write results to files, each marked as computed."""

from .archive import write_archive as write_archive
from .dicom_file import new_uid as new_uid
from .dicom_series import write_dicom_series as write_dicom_series
from .dicomweb import DicomWeb as DicomWeb
from .dicomweb import PacsError as PacsError
from .film_study import FilmStudy as FilmStudy
from .film_study import read_film_study as read_film_study
from .nifti import write_nifti as write_nifti
from .nifti import write_truth as write_truth
from .pacs import Pacs as Pacs
from .pacs import PacsCT as PacsCT
from .pacs import PacsFilm as PacsFilm
from .pacs_studies import PacsOutcome as PacsOutcome
from .pacs_studies import StudyState as StudyState
from .pacs_studies import predict_in_pacs as predict_in_pacs
from .predicted import read_synthetic_ct as read_synthetic_ct
from .publish import publish as publish
from .radiographs import write_dicom_radiograph as write_dicom_radiograph
from .radiographs import write_png16 as write_png16
from .radiographs import write_radiograph_nifti as write_radiograph_nifti
from .starter import find_model as find_model
from .starter import use_starter as use_starter
from .studies import StudyFolder as StudyFolder
from .study import predict_study as predict_study

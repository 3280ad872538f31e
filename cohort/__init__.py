"""Data preparation: phantoms, the split by patient, and what training reads."""

from .datalist import WithOtherRadiographs as WithOtherRadiographs
from .datalist import cached_dataset as cached_dataset
from .datalist import load_datalist as load_datalist
from .datalist import mean_volume as mean_volume
from .datalist import patient_keys as patient_keys
from .pairs import radiograph_pairs as radiograph_pairs
from .phantom import thorax_phantom as thorax_phantom
from .ready import ready_manifest as ready_manifest
from .sampling import EpochSampler as EpochSampler
from .sampling import SeededDataset as SeededDataset
from .sampling import share_of_process as share_of_process
from .split import FOLDS as FOLDS
from .split import MANIFEST_NAME as MANIFEST_NAME
from .split import split_cohort as split_cohort
from .tolerant import TolerantDataset as TolerantDataset
from .unpaired import UnpairedDataset as UnpairedDataset
from .unpaired import UnpairedSampler as UnpairedSampler
from .unpaired import check_folders as check_folders
from .unpaired import prepared_films as prepared_films

"""Prepare cohorts and load their cases: phantoms, the split by patient, datasets and samplers."""

from .datalist import WithOtherRadiographs as WithOtherRadiographs
from .datalist import cached_dataset as cached_dataset
from .datalist import describe_data as describe_data
from .datalist import load_datalist as load_datalist
from .datalist import mean_training_volume as mean_training_volume
from .datalist import mean_volume as mean_volume
from .datalist import patient_keys as patient_keys
from .loaders import describe_unpaired as describe_unpaired
from .loaders import training_loader as training_loader
from .loaders import unpaired_loader as unpaired_loader
from .pairs import radiograph_pairs as radiograph_pairs
from .phantoms import thorax_phantom as thorax_phantom
from .ready import ready_manifest as ready_manifest
from .sampling import EpochSampler as EpochSampler
from .sampling import SeededDataset as SeededDataset
from .sampling import share_of_process as share_of_process
from .split import FOLDS as FOLDS
from .split import MANIFEST_NAME as MANIFEST_NAME
from .split import split_cohort as split_cohort
from .tolerant import TolerantDataset as TolerantDataset
from .tolerant import TolerantLoader as TolerantLoader
from .unpaired import UnpairedDataset as UnpairedDataset
from .unpaired import UnpairedSampler as UnpairedSampler
from .unpaired import find_films as find_films
from .unpaired import prepared_films as prepared_films
from .unpaired import view_of as view_of

"""Read CTs and radiographs from files, with a record of every decision."""

from .ct import read_ct as read_ct
from .ct.suffixes import CT_SUFFIXES as CT_SUFFIXES
from .ct.suffixes import NIFTI_SUFFIXES as NIFTI_SUFFIXES
from .radiographs.assessment import assess_film as assess_film
from .radiographs.assessment import equalised as equalised
from .radiographs.content import check_content as check_content
from .radiographs.dicom import view_of_position as view_of_position
from .radiographs.file_kind import RADIOGRAPH_SUFFIXES as RADIOGRAPH_SUFFIXES
from .radiographs.film import Film as Film
from .radiographs.lung_box import LungBox as LungBox
from .radiographs.lung_box import crop_to_box as crop_to_box
from .radiographs.pair import check_pair as check_pair
from .radiographs.placed import PlacedFilm as PlacedFilm
from .radiographs.placed import pack_films as pack_films
from .radiographs.placed import unpack_films as unpack_films
from .radiographs.reading import ReadOptions as ReadOptions
from .radiographs.reading import read_films as read_films
from .radiographs.record import DecisionRecord as DecisionRecord
from .radiographs.reference import QUANTILES as QUANTILES
from .radiographs.reference import REFERENCE_FILE as REFERENCE_FILE
from .radiographs.reference import LungPlace as LungPlace
from .radiographs.reference import box_of_tones as box_of_tones
from .radiographs.reference import lung_place as lung_place
from .radiographs.reference import reference_sources as reference_sources
from .radiographs.reference import tone_quantiles as tone_quantiles
from .radiographs.scaling import FILM_PERCENTILES as FILM_PERCENTILES

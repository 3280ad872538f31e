"""MONAI transforms: a CT file to radiographs and a unit volume and back, and films to what a model reads."""

from .agreement import AgreeWithFilmsd as AgreeWithFilmsd
from .cases import case_transforms as case_transforms
from .cases import film_transforms as film_transforms
from .cases import prediction_transforms as prediction_transforms
from .field_of_view import MatchFieldOfView as MatchFieldOfView
from .field_of_view import MatchFieldOfViewd as MatchFieldOfViewd
from .hounsfield import HUWindow as HUWindow
from .hounsfield import HUWindowd as HUWindowd
from .hounsfield import UnitToHU as UnitToHU
from .hounsfield import UnitToHUd as UnitToHUd
from .radiograph import ReadRadiograph as ReadRadiograph
from .radiograph import ReadRadiographd as ReadRadiographd
from .rand_film import RandFilm as RandFilm
from .rand_film import RandFilmd as RandFilmd
from .raycast import RandRayCastDRR as RandRayCastDRR
from .raycast import RandRayCastDRRd as RandRayCastDRRd
from .raycast import RayCastDRR as RayCastDRR
from .raycast import RayCastDRRd as RayCastDRRd
from .served import DescribeResultd as DescribeResultd
from .style import StyleTransfer as StyleTransfer
from .style import StyleTransferd as StyleTransferd
from .volume import DECISIONS as DECISIONS
from .volume import ReadVolume as ReadVolume
from .volume import ReadVolumed as ReadVolumed
from .volume import ResampleToGrid as ResampleToGrid
from .volume import ResampleToGridd as ResampleToGridd

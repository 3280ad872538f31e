"""Give each dictionary transform the two other names that MONAI's have: `...D` and `...Dict`."""

from .agreement import AgreeWithFilmsd
from .field_of_view import MatchFieldOfViewd
from .hounsfield import HUWindowd, UnitToHUd
from .radiograph import ReadRadiographd
from .rand_film import RandFilmd
from .raycast import RandRayCastDRRd, RayCastDRRd
from .served import DescribeResultd
from .style import StyleTransferd
from .volume import ReadVolumed, ResampleToGridd

AgreeWithFilmsD = AgreeWithFilmsDict = AgreeWithFilmsd
DescribeResultD = DescribeResultDict = DescribeResultd
HUWindowD = HUWindowDict = HUWindowd
MatchFieldOfViewD = MatchFieldOfViewDict = MatchFieldOfViewd
RandFilmD = RandFilmDict = RandFilmd
RandRayCastDRRD = RandRayCastDRRDict = RandRayCastDRRd
RayCastDRRD = RayCastDRRDict = RayCastDRRd
ReadRadiographD = ReadRadiographDict = ReadRadiographd
ReadVolumeD = ReadVolumeDict = ReadVolumed
ResampleToGridD = ResampleToGridDict = ResampleToGridd
StyleTransferD = StyleTransferDict = StyleTransferd
UnitToHUD = UnitToHUDict = UnitToHUd

"""Define what the whole project agrees on.

commands     the commands of a package, `python -m PACKAGE`
errors       the one error for bad input, and how a command ends on it
hounsfield   Hounsfield units, the unit volume and the maps between them
keys         keys of a batch
provenance   the mark of computed images, and how it is read again
views        views, the axes of a volume and the permutations between them
"""

from .commands import run_command as run_command
from .errors import InputError as InputError
from .errors import input_error_in as input_error_in
from .errors import report_input_errors as report_input_errors
from .hounsfield import HU_AIR as HU_AIR
from .hounsfield import HU_MAX as HU_MAX
from .hounsfield import HU_WINDOW as HU_WINDOW
from .hounsfield import hu_to_unit as hu_to_unit
from .hounsfield import unit_to_hu as unit_to_hu
from .keys import Keys as Keys
from .provenance import DRR_NOTE as DRR_NOTE
from .provenance import DRR_STATEMENT as DRR_STATEMENT
from .provenance import MANUFACTURER as MANUFACTURER
from .provenance import MARK_KEY as MARK_KEY
from .provenance import MARK_NIFTI_CODE as MARK_NIFTI_CODE
from .provenance import MARK_TAGS as MARK_TAGS
from .provenance import PHANTOM_NOTE as PHANTOM_NOTE
from .provenance import SYNTHETIC_NOTE as SYNTHETIC_NOTE
from .provenance import SYNTHETIC_STATEMENT as SYNTHETIC_STATEMENT
from .provenance import VERSION as VERSION
from .provenance import Mark as Mark
from .provenance import MarkKind as MarkKind
from .provenance import mark as mark
from .provenance import read_mark as read_mark
from .views import AXIS_DIRECTIONS_LPS as AXIS_DIRECTIONS_LPS
from .views import LPS_TO_RAS as LPS_TO_RAS
from .views import MAX_VIEWS as MAX_VIEWS
from .views import VIEW_TO_VOLUME as VIEW_TO_VOLUME
from .views import VOLUME_TO_VIEW as VOLUME_TO_VIEW
from .views import View as View
from .views import expand_views as expand_views

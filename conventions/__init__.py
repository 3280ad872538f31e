"""What the whole project agrees on: units, axes, views, keys and the one error for bad input."""

from .errors import InputError as InputError
from .errors import input_error_in as input_error_in
from .errors import report_input_errors as report_input_errors
from .files import check_run as check_run
from .files import read_tensors as read_tensors
from .files import set_aside as set_aside
from .files import to_json as to_json
from .files import write_atomically as write_atomically
from .files import write_json as write_json
from .files import write_tensors as write_tensors
from .hounsfield import HU_AIR as HU_AIR
from .hounsfield import HU_MAX as HU_MAX
from .hounsfield import HU_WINDOW as HU_WINDOW
from .hounsfield import hu_to_unit as hu_to_unit
from .hounsfield import unit_to_hu as unit_to_hu
from .keys import Keys as Keys
from .views import AXIS_DIRECTIONS_LPS as AXIS_DIRECTIONS_LPS
from .views import LPS_TO_RAS as LPS_TO_RAS
from .views import VIEW_TO_VOLUME as VIEW_TO_VOLUME
from .views import VOLUME_TO_VIEW as VOLUME_TO_VIEW
from .views import View as View
from .views import expand_views as expand_views

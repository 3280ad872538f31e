"""Views: where the source and the detector are. Frozen objects in mm, patient frame LPS, isocentre at the origin.

The patient frame is DICOM's: x to the patient's left, y to the back, z to the head. Image rows run towards the feet. A
view is a cone beam (a radiograph) or a parallel beam, each in any pose; the constructors `pa`, `ap`, `lateral` and
`oblique` build the usual ones.
"""

from .cone import AT_INFINITY_MM as AT_INFINITY_MM
from .cone import ConeBeam as ConeBeam
from .detector import Vector as Vector
from .detector import detector_shape_of as detector_shape_of
from .parallel import ParallelBeam as ParallelBeam
from .poses import POSES as POSES

Beam = ConeBeam | ParallelBeam
"""A view of either kind."""

"""Ray casting of CT volumes to digitally reconstructed radiographs (DRR)."""

from .attenuation import CURVES as CURVES
from .attenuation import hu_to_mu as hu_to_mu
from .detector import FILM_STYLES as FILM_STYLES
from .detector import to_film as to_film
from .geometry import PRESETS as PRESETS
from .geometry import ConeBeam as ConeBeam
from .geometry import VolumeGrid as VolumeGrid
from .geometry import geometry_tensor as geometry_tensor
from .geometry import preset as preset
from .projector import project as project

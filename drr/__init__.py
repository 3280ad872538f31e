"""Ray casting of CT volumes to digitally reconstructed radiographs (DRR)."""

from .attenuation import CURVES as CURVES
from .attenuation import hu_to_mu as hu_to_mu
from .attenuation import material_densities as material_densities
from .detector import FILM_STYLES as FILM_STYLES
from .detector import harden_beam as harden_beam
from .detector import to_film as to_film
from .dicom_tags import from_dicom_tags as from_dicom_tags
from .geometry import Beam as Beam
from .geometry import ConeBeam as ConeBeam
from .geometry import ParallelBeam as ParallelBeam
from .grid import VolumeGrid as VolumeGrid
from .presets import PRESETS as PRESETS
from .presets import X2CT_ISOCENTRE_SLIP as X2CT_ISOCENTRE_SLIP
from .presets import X2CT_MIRRORED as X2CT_MIRRORED
from .presets import preset as preset
from .projector import BACKENDS as BACKENDS
from .projector import back_project as back_project
from .projector import project as project
from .tensor import geometry_tensor as geometry_tensor
from .tensor import perturb_geometry as perturb_geometry
from .tensor import views_of_tensor as views_of_tensor

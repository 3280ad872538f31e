"""Cast rays through CT volumes to make digitally reconstructed radiographs (DRR).

`Acquisition` says how; `hu_to_mu`, `project` and `to_film` are the steps from HU to a DRR, `back_project` the adjoint.
"""

from .acquisition import ANCHORS as ANCHORS
from .acquisition import Acquisition as Acquisition
from .attenuation import CURVES as CURVES
from .attenuation import hu_to_mu as hu_to_mu
from .attenuation import material_densities as material_densities
from .attenuation import mu_to_hu as mu_to_hu
from .dicom_tags import VIEW_POSITIONS as VIEW_POSITIONS
from .dicom_tags import SourceDistances as SourceDistances
from .dicom_tags import from_dicom_tags as from_dicom_tags
from .dicom_tags import source_distances as source_distances
from .film_styles import FILM_STYLES as FILM_STYLES
from .film_styles import add_noise as add_noise
from .film_styles import add_scatter as add_scatter
from .film_styles import from_film as from_film
from .film_styles import harden_beam as harden_beam
from .film_styles import to_film as to_film
from .geometry import Beam as Beam
from .geometry import ConeBeam as ConeBeam
from .geometry import ParallelBeam as ParallelBeam
from .grid import VolumeGrid as VolumeGrid
from .presets import PRESETS as PRESETS
from .presets import VIEW_NAMES as VIEW_NAMES
from .presets import X2CT_ISOCENTRE_SLIP as X2CT_ISOCENTRE_SLIP
from .presets import X2CT_MIRRORED as X2CT_MIRRORED
from .presets import preset as preset
from .projector import BACKENDS as BACKENDS
from .projector import back_project as back_project
from .projector import project as project
from .tensor import geometry_tensor as geometry_tensor
from .tensor import perturb_geometry as perturb_geometry
from .tensor import views_of_tensor as views_of_tensor
from .view_labels import edge_letters as edge_letters
from .view_labels import view_title as view_title

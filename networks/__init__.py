"""Networks by name: X2CT-GAN's generator and discriminator, and the conversion of the authors' weights."""

from .convert import from_official as from_official
from .patchgan import PatchDiscriminator3D as PatchDiscriminator3D
from .registry import NETWORKS as NETWORKS
from .registry import build_network as build_network
from .x2ct import X2CTGenerator as X2CTGenerator

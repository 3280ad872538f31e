"""Procedural thorax phantoms: random chests as CTs in HU."""

from .generate import write_phantom as write_phantom
from .generate import write_phantoms as write_phantoms
from .phantom import thorax_phantom as thorax_phantom

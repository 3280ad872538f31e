"""Losses of generators, discriminators and translators."""

from .adversarial import FeatureMatchingLoss as FeatureMatchingLoss
from .adversarial import LSGANLoss as LSGANLoss
from .cycle import CycleLoss as CycleLoss
from .laplace import LaplaceLoss as LaplaceLoss
from .patch_nce import PatchNCELoss as PatchNCELoss
from .projection import ProjectionLoss as ProjectionLoss
from .structure import GradientCorrelationLoss as GradientCorrelationLoss
from .weighted import WeightedLosses as WeightedLosses

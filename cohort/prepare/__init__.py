"""Prepare a cohort: any chest CT in, one checked volume each and a manifest out."""

from .case import PrepareOptions as PrepareOptions
from .case import is_synthetic as is_synthetic
from .run import PreparedCohort as PreparedCohort
from .run import plan_cohort as plan_cohort
from .run import prepare_cohort as prepare_cohort

"""Measures of a predicted volume against the true one."""

from .image_quality import mae as mae
from .image_quality import mse as mse
from .image_quality import psnr as psnr
from .image_quality import ssim as ssim
from .paper import PAPER_MEASURES as PAPER_MEASURES
from .paper import paper_metrics as paper_metrics
from .wrappers import VolumeMetric as VolumeMetric
from .wrappers import paper_volume_metrics as paper_volume_metrics
from .wrappers import volume_metrics as volume_metrics

"""Measures of a predicted volume against the true one."""

from .image_quality import mae as mae
from .image_quality import psnr as psnr
from .image_quality import ssim as ssim
from .wrappers import VolumeMetric as VolumeMetric
from .wrappers import volume_metrics as volume_metrics

"""Metrics that compare a predicted volume with the true one, and sets of radiographs with each other."""

from .calibration import BANDS as BANDS
from .calibration import KEPT as KEPT
from .calibration import LAPLACE_SHARES as LAPLACE_SHARES
from .calibration import calibration as calibration
from .embedding import PretrainedFeatures as PretrainedFeatures
from .embedding import RandomFeatures as RandomFeatures
from .embedding import embedding as embedding
from .image_quality import mae as mae
from .image_quality import mse as mse
from .image_quality import psnr as psnr
from .image_quality import ssim as ssim
from .paper import PAPER_MEASURES as PAPER_MEASURES
from .paper import paper_metrics as paper_metrics
from .style import fid as fid
from .style import intensity_wasserstein as intensity_wasserstein
from .style import kid as kid
from .style import power_spectrum as power_spectrum
from .style import power_spectrum_distance as power_spectrum_distance
from .wrappers import VolumeMetric as VolumeMetric
from .wrappers import paper_volume_metrics as paper_volume_metrics
from .wrappers import volume_metrics as volume_metrics

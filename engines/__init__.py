"""Train and evaluate with MONAI Workflows, which are given their networks and losses."""

from .adversary import Adversary as Adversary
from .cyclegan_trainer import CycleGANTrainer as CycleGANTrainer
from .distributed import bare as bare
from .distributed import join_processes as join_processes
from .ema import ExponentialAverage as ExponentialAverage
from .evaluator import X2CTEvaluator as X2CTEvaluator
from .fastcut_trainer import FastCUTTrainer as FastCUTTrainer
from .image_pool import ImagePool as ImagePool
from .random_views import RandomViews as RandomViews
from .schedule import ConstantThenLinear as ConstantThenLinear
from .style_evaluator import StyleEvaluator as StyleEvaluator
from .style_evaluator import StyleOfView as StyleOfView
from .style_evaluator import check_counts as check_counts
from .trainer import X2CTTrainer as X2CTTrainer
from .translator_trainer import POLARITY as POLARITY
from .updating_inferer import UpdatingInferer as UpdatingInferer

"""MONAI Workflows that train and evaluate. Networks and losses are given to them."""

from .checkpoint import ModelRecorder as ModelRecorder
from .checkpoint import describe_model as describe_model
from .checkpoint import load_model as load_model
from .evaluator import X2CTEvaluator as X2CTEvaluator
from .progress import ProgressBar as ProgressBar
from .schedule import ConstantThenLinear as ConstantThenLinear
from .summary import SummaryWriter as SummaryWriter
from .trainer import X2CTTrainer as X2CTTrainer

"""MONAI Workflows that train and evaluate. Networks and losses are given to them."""

from .adversary import Adversary as Adversary
from .announcement import Announcement as Announcement
from .announcement import TranslationAnnouncement as TranslationAnnouncement
from .announcement import expected_bytes as expected_bytes
from .checkpoint import check_unseen as check_unseen
from .checkpoint import describe_model as describe_model
from .checkpoint import load_model as load_model
from .cyclegan_trainer import CycleGANTrainer as CycleGANTrainer
from .distributed import join_processes as join_processes
from .ema import ExponentialAverage as ExponentialAverage
from .epoch_seeds import EpochSeeds as EpochSeeds
from .evaluator import X2CTEvaluator as X2CTEvaluator
from .fastcut_trainer import FastCUTTrainer as FastCUTTrainer
from .image_pool import ImagePool as ImagePool
from .model_saver import ModelSaver as ModelSaver
from .polarity import PolarityCheck as PolarityCheck
from .progress import ProgressBar as ProgressBar
from .resume import Resume as Resume
from .run_recorder import RunRecorder as RunRecorder
from .run_recorder import describe_run as describe_run
from .schedule import ConstantThenLinear as ConstantThenLinear
from .style_evaluator import StyleEvaluator as StyleEvaluator
from .style_evaluator import StyleOfView as StyleOfView
from .summary import SummaryWriter as SummaryWriter
from .trainer import X2CTTrainer as X2CTTrainer
from .translator_saver import TranslatorSaver as TranslatorSaver

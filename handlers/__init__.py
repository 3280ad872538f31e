"""Ignite and MONAI handlers, which act around the steps of a trainer or an evaluator."""

from .announcement import Announcement as Announcement
from .calibration_table import CalibrationTable as CalibrationTable
from .case_card import CaseCard as CaseCard
from .case_figures import CaseFigures as CaseFigures
from .epoch_seeds import EpochSeeds as EpochSeeds
from .evaluation_summary import EvaluationSummary as EvaluationSummary
from .film_report import FilmReport as FilmReport
from .loss_curves import LossCurves as LossCurves
from .mean_volume import MeanVolume as MeanVolume
from .memory import expected_bytes as expected_bytes
from .model_saver import ModelSaver as ModelSaver
from .nifti_writer import NiftiWriter as NiftiWriter
from .polarity_check import PolarityCheck as PolarityCheck
from .progress_bar import ProgressBar as ProgressBar
from .records import TrainingRecords as TrainingRecords
from .records import training_records as training_records
from .records import translation_records as translation_records
from .resume import Resume as Resume
from .run_recorder import RunRecorder as RunRecorder
from .run_recorder import describe_run as describe_run
from .run_settings import run_settings as run_settings
from .tensorboard_cases import TensorBoardCases as TensorBoardCases
from .translation_announcement import TranslationAnnouncement as TranslationAnnouncement
from .translation_panels import TranslationPanels as TranslationPanels
from .translator_saver import TranslatorSaver as TranslatorSaver

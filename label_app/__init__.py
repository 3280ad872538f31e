"""Serve a model to the clients of MONAI Label.

What is imported here needs no MONAI Label, whose environment is one of its own (requirements.txt).
"""

from .errors import RequestError as RequestError
from .films import films_of as films_of
from .films import find_studies as find_studies
from .options import InferOptions as InferOptions
from .options import read_options as read_options
from .predictor import Predictor as Predictor
from .reprojection import film_disagreement as film_disagreement
from .reprojection import rank as rank
from .served import serve as serve
from .served import served_model as served_model
from .settings import ServerSettings as ServerSettings
from .train_options import TrainOptions as TrainOptions
from .train_options import read_train_options as read_train_options

"""Every picture and table the project draws."""

from .figures import case_figure as case_figure
from .figures import draw_case as draw_case
from .figures import draw_losses as draw_losses
from .figures import draw_radiographs as draw_radiographs
from .films import FilmReport as FilmReport
from .films import film_figure as film_figure
from .handlers import CaseFigures as CaseFigures
from .handlers import LossCurves as LossCurves
from .handlers import TensorBoardCases as TensorBoardCases
from .style import StyleReport as StyleReport
from .style import TranslationPanels as TranslationPanels
from .style import style_table as style_table

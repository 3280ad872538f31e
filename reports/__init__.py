"""Draw every picture and print every table of the project."""

from .agreement import draw_agreement as draw_agreement
from .cohort_page import write_cohort_page as write_cohort_page
from .figures import VIEW_LETTERS as VIEW_LETTERS
from .figures import case_figure as case_figure
from .figures import draw_case as draw_case
from .figures import draw_losses as draw_losses
from .figures import draw_picture as draw_picture
from .figures import draw_radiographs as draw_radiographs
from .figures import save_figure as save_figure
from .films import film_figure as film_figure
from .style import StyleReport as StyleReport
from .style import style_table as style_table
from .summary import summary_table as summary_table

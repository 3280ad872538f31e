"""Draw every picture and print every table of the project."""

from .agreement import draw_agreement as draw_agreement
from .case_files import cases_to_show as cases_to_show
from .case_files import read_case as read_case
from .case_files import read_measures as read_measures
from .case_files import write_pages as write_pages
from .case_page import CaseContent as CaseContent
from .case_page import write_case_page as write_case_page
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

"""Name the class of the app for MONAI Label, which runs this file by itself."""

import importlib
import sys
from pathlib import Path

_ABOVE = Path(__file__).resolve().parent.parent
_IS_PACKAGE = (_ABOVE / "__init__.py").is_file()  # of an archive; in the repository the packages lie side by side
sys.path.insert(0, str(_ABOVE.parent if _IS_PACKAGE else _ABOVE))

X2CTApp = importlib.import_module(f"{_ABOVE.name}.label_app.app" if _IS_PACKAGE else "label_app.app").X2CTApp

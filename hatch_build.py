"""Build the wheel: the packages of the repository under one name, x2ct, with their imports rewritten."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NamespaceHook(BuildHookInterface):  # type: ignore[misc]
    """Hook of hatchling that puts the one package into the wheel. An editable installation is the repository itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the package into a folder that exists as long as the build."""
        if version == "editable":
            return
        root = Path(self.root)
        namespace = runpy.run_path(str(root / "export" / "namespace.py"))
        self.folder = tempfile.TemporaryDirectory()
        package = Path(self.folder.name) / namespace["NAMESPACE"]
        namespace["write_installed"](root, package)
        build_data["force_include"][str(package)] = package.name

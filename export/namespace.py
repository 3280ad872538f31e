"""Write the project's packages as one package, where their generic names would clash with others.

A wheel and an archive are made this way. Only the standard library is imported, since a build has nothing else.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

NAMESPACE = "x2ct"
"""Name of the one package."""

PACKAGES = ("conventions", "storage", "drr", "readers", "transforms", "networks", "losses", "engines", "handlers",
            "metrics", "cohort", "export", "reports", "label_app")  # fmt: skip
"""Packages of the repository that go into it."""

_NAMES = "|".join(PACKAGES)
_IMPORT = re.compile(rf"^(\s*(?:>>> )?from )({_NAMES})(?=\.| import )", re.MULTILINE)
_COMMAND = re.compile(rf"(?<=python -m )({_NAMES})\b")
_TARGET = re.compile(rf"({_NAMES})\.\w+")

_INIT = '''"""Turn one or two chest radiographs into a CT volume: the packages of the X2CT bundle under one name."""

from pathlib import Path

BUNDLE = Path(__file__).parent / "bundle"
"""Folder of the MONAI bundle: configs, model card, licence."""
'''

_FOUND_BY = "/storage/options.py"
"""File by which a config finds the folder of the packages."""

IN_WHEEL = {
    "bundle_root": f"$os.path.join(os.path.dirname(__import__('{NAMESPACE}').__file__), 'bundle')",
    "ckpt_dir": "models",
}
"""Entries of the configs in a wheel, whose folder is known, and not meant for models."""


def rewrite(text: str) -> str:
    """Rewrite the imports and commands of a page of documentation.

    Args:
        text: Markdown; imports of the packages are written `from NAME import ...`.

    Returns:
        The same with `from x2ct.NAME import ...` and `python -m x2ct.NAME`.
    """
    return _COMMAND.sub(rf"{NAMESPACE}.\1", _IMPORT.sub(rf"\1{NAMESPACE}.\2", text))


def rewrite_module(source: str, depth: int) -> str:
    """Rewrite the imports of a module as relative ones, and its commands as `rewrite` does.

    Args:
        source: the module; imports of the packages are written `from NAME import ...`.
        depth: number of packages that it lies in, the one package not counted; 1 for `drr/grid.py`.

    Returns:
        The same with `from ..NAME import ...`, sorted as isort wants it.

    Raises:
        ValueError: where the module imports one of the packages in another form.
    """
    lines = source.splitlines(keepends=True)
    previous: ast.ImportFrom | None = None
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(name.name.split(".")[0] in PACKAGES for name in node.names):
            raise ValueError(f"line {node.lineno}: import it in the form 'from {node.names[0].name} import ...'")
        if not isinstance(node, ast.ImportFrom):
            continue
        place = node.lineno - 1
        ours = node.level == 0 and str(node.module).split(".")[0] in PACKAGES
        if ours:
            lines[place] = lines[place].replace(f"from {node.module}", f"from {'.' * (depth + 1)}{node.module}", 1)
        elif (
            node.level > 0
            and previous is not None
            and previous.end_lineno == place - 1
            and not lines[place - 1].strip()
        ):
            lines[place - 1] = ""  # both belong to one block of relative imports now
        previous = node if ours else None
    return _COMMAND.sub(rf"{NAMESPACE}.\1", "".join(lines))


def rewrite_config(content: Any) -> Any:
    """Rewrite the targets of a config, and the commands in its descriptions.

    Args:
        content: the config, or any part of it.

    Returns:
        A copy.
    """
    if isinstance(content, dict):
        copy = {key: rewrite_config(value) for key, value in content.items()}
        target = copy.get("_target_")
        if isinstance(target, str) and _TARGET.fullmatch(target):
            copy["_target_"] = f"{NAMESPACE}.{target}"
        return copy
    if isinstance(content, list):
        return [rewrite_config(value) for value in content]
    return rewrite(content).replace(_FOUND_BY, f"/{NAMESPACE}{_FOUND_BY}") if isinstance(content, str) else content


def write_packages(root: Path, destination: Path, header: str = "") -> None:
    """Write the packages of a repository, or of an installation, as one package.

    Args:
        root: folder that holds the packages.
        destination: folder of the one package, which is made.
        header: lines that each module begins with.
    """
    destination.mkdir(parents=True)
    namespaced = root.name == NAMESPACE
    (destination / "__init__.py").write_text(header + _INIT, encoding="utf-8")
    (destination / "py.typed").touch()
    for package in PACKAGES:
        for source in sorted((root / package).rglob("*")):
            if source.is_dir() or "__pycache__" in source.parts:
                continue
            target = destination / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".py":
                text = source.read_text(encoding="utf-8")
                target.write_text(
                    header + (text if namespaced else rewrite_module(text, len(source.relative_to(root).parts) - 1)),
                    encoding="utf-8",
                )
            elif source.suffix == ".json":
                content = json.loads(source.read_text(encoding="utf-8"))
                target.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
            else:
                target.write_bytes(source.read_bytes())


def write_installed(root: Path, destination: Path) -> None:
    """Write what a wheel installs: the one package, with the configs and documents of the bundle in it.

    Args:
        root: the repository.
        destination: folder of the one package, which is made.
    """
    write_packages(root, destination)
    for source in sorted((root / "bundle").rglob("*")):
        target = destination / source.relative_to(root)
        users_own = source.parent.name == "models" and source.stem != "starter"
        if source.is_dir() or users_own:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".json":
            content = rewrite_config(json.loads(source.read_text(encoding="utf-8")))
            content.update({key: value for key, value in IN_WHEEL.items() if key in content})
            target.write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")
        elif source.suffix == ".md":
            target.write_text(rewrite(source.read_text(encoding="utf-8")), encoding="utf-8")
        else:
            target.write_bytes(source.read_bytes())

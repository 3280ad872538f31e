"""The house as docs/architecture.md draws it: who may import whom, names, and the public surface."""

import ast
import importlib
import importlib.metadata
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LEVELS = [
    {"conventions"},
    {"storage"},
    {"drr"},
    {"readers", "losses", "metrics"},
    {"transforms", "networks", "engines"},
    {"export", "reports"},
    {"handlers", "cohort"},
    {"label_app"},
]
"""The floors of the house, the ground floor first: a package imports from floors below its own alone."""

ARROWS = {package: set().union(*LEVELS[:level]) for level, packages in enumerate(LEVELS) for package in packages}
ARROWS["engines"] = {"conventions", "storage"}
"""Who may import whom: engines are given networks and losses, so they import none. Entry points (`__main__.py`) may
import everything; nobody imports them."""

FORBIDDEN = {"packaging", "datasets", "evaluate", "data", "utils", "common", "lib", "scripts"}
"""Top-level names that break something: see docs/architecture.md."""

PUBLIC = json.loads((Path(__file__).parent / "public_names.json").read_text())

PACKAGES = sorted(p.parent.name for p in ROOT.glob("*/__init__.py"))


def modules():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield package, path


def imported(path):
    """Top-level packages of ours that a module imports absolutely, with whether the import is at module level."""
    tree = ast.parse(path.read_text())
    top = set(ast.iter_child_nodes(tree))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            yield name, node in top


@pytest.mark.parametrize(("package", "path"), list(modules()), ids=lambda v: v.name if isinstance(v, Path) else v)
def test_imports_point_down(package, path):
    for name, at_top in imported(path):
        target = name.split(".")[0]
        assert target not in ("tests", "benchmarks"), f"{path} imports {name}"
        if target not in ARROWS or target == package:
            assert target != package or name == package, f"{path}: import your own package relatively"
            continue
        assert at_top, f"{path}: imports {name} inside a function"
        assert name != f"{target}.__main__"
        if path.name == "__main__.py":
            continue
        assert target in ARROWS[package], f"{path} imports {name}"
        assert "." not in name, f"{path}: import public names from {target}, not from {name}"


def test_the_page_draws_the_same_floors():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {
        int(level): set(packages.split())
        for level, packages in re.findall(r"^(\d)  ([a-z_]+(?:  [a-z_]+)*)$", page, re.M)
    }
    assert drawn == dict(enumerate(LEVELS))
    assert set(PACKAGES) == set().union(*LEVELS)


def test_no_package_is_named_like_another():
    ours = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")} - {"output"}
    assert not ours & FORBIDDEN
    assert not any(name.startswith("monai") for name in ours)
    assert not set(PACKAGES) & set(sys.stdlib_module_names)
    installed = importlib.metadata.packages_distributions()
    assert not {name for name in PACKAGES if set(installed.get(name, [])) - {"x2ct-bundle"}}


def test_no_module_is_named_like_a_package():
    assert not [path for _, path in modules() if path.stem in PACKAGES]


def test_tests_are_no_package():
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names(package):
    module = importlib.import_module(package)
    assert Path(module.__file__).parent == ROOT / package, "another package of this name is in the way"
    public = sorted(
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, type(sys))
    )
    assert public == PUBLIC[package], "changed on purpose? then change tests/public_names.json and the CHANGELOG"
    assert (ROOT / package / "py.typed").exists()


def read_pins(folder=ROOT):
    lines = (folder / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    pins = {normal(name) for name in read_pins()}
    assert {normal(re.split(r"[<>=\[]", name)[0]) for name in wanted} - {normal(project["name"])} <= pins
    assert read_pins()["torch"] == "2.13.0"
    assert read_pins()["monai"] == "1.6.1"


def test_pins_are_what_is_installed():
    """Packages that were installed by hand show here, in the environments that the Makefile makes."""
    environment = Path(sys.prefix)
    if not (environment / ".complete").exists():
        pytest.skip(f"{environment} was not made by `make env` or `make test-matrix`, so it has no pins to keep")
    pins = read_pins(environment if (environment / "constraints.txt").exists() else ROOT)  # those of the matrix
    for name, version in pins.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a package of another platform
        assert found.split("+")[0] == version, f"{name} {found} is installed, constraints.txt says {version}"


def test_environment_yml_installs_the_same():
    text = (ROOT / "environment.yml").read_text()
    assert "--constraint constraints.txt" in text
    assert "--editable .[dev]" in text
    # conda brings the interpreter only; every package comes through pip, from the one list of pins.
    conda = re.findall(r"^  - ([\w=.-]+)$", text, re.MULTILINE)
    assert [name.split("=")[0] for name in conda] == ["conda-forge", "python", "pip"]
    versions = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert versions == ">=3.11,<3.13"
    assert "python=3.11" in text


def test_metadata_says_the_same_versions():
    metadata = json.loads((ROOT / "bundle/configs/metadata.json").read_text())
    pins = {normal(name): version for name, version in read_pins().items()}
    assert metadata["monai_version"] == pins["monai"]
    assert metadata["pytorch_version"] == pins["torch"]
    assert metadata["numpy_version"].startswith("1.26.")  # the oldest, of `make test-matrix` and of MONAI Label
    for name, version in metadata["required_packages_version"].items():
        assert version == pins[normal(name)]
    assert metadata["version"] in metadata["changelog"]
    assert f"## [{metadata['version']}]" in (ROOT / "CHANGELOG.md").read_text()

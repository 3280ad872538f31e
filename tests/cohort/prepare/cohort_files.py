"""What the tests of preparation share: the command, and what it left."""

import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def content(folder):
    """SHA-256 of every file below a folder by its name, hidden ones too."""
    files = [file for file in Path(folder).rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def without_earlier(made):
    """`content` without manifests that a later run renamed."""
    return {name: digest for name, digest in made.items() if not name.startswith("manifest_")}


def command(*words):
    return [sys.executable, "-m", "cohort", "prepare", *map(str, words), "--spacing", "5"]

"""How the configs are laid out, and how large they are: `python tests/bundle/config_style.py [--format]`.

Prints a line for each config: lines, top-level keys, and expressions (values that begin with `$`). With --format, every
config is rewritten in this layout.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parent.parent.parent / "bundle" / "configs"

WIDTH = 120
"""Longest line that a short array or object is kept on."""

MOST_ENTRIES = 5
"""Largest object that stands on one line."""

JOBS = ("train", "evaluate", "inference", "train_cyclegan", "fastcut")
"""The configs that are run, and the overlay that makes the second translator of the first."""


def dumps(value: Any, indent: int = 0, used: int = 0) -> str:
    """Return indented JSON in which short arrays and objects stand on one line.

    Args:
        value: of a config.
        indent: spaces before the closing bracket.
        used: characters on the line so far.
    """
    line = json.dumps(value, ensure_ascii=False)
    short = indent > 0 and used + len(line) <= WIDTH and not (isinstance(value, dict) and len(value) > MOST_ENTRIES)
    if not isinstance(value, (dict, list)) or not value or short:
        return line
    inner = " " * (indent + 4)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {dumps(v, indent + 4, indent + 8 + len(key))}" for key, v in value.items()]
    else:
        parts = [dumps(v, indent + 4, indent + 4) for v in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    return start + "\n" + ",\n".join(inner + part for part in parts) + "\n" + " " * indent + end


def size_of(name: str) -> tuple[int, int, int]:
    """Return the lines, top-level keys and expressions of a config."""
    text = (CONFIGS / f"{name}.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return len(text.splitlines()), len(content), sum(word.startswith("$") for word in _strings(content))


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for v in value.values() for word in _strings(v)]
    if isinstance(value, list):
        return [word for v in value for word in _strings(v)]
    return [value] if isinstance(value, str) else []


def main() -> None:
    """Print the sizes, and format the configs where that is asked for."""
    if "--format" in sys.argv:
        for path in CONFIGS.glob("*.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(dumps(content) + "\n", encoding="utf-8")
    print(f"{'config':<16} {'lines':>6} {'keys':>5} {'$':>4}")
    sizes = {name: size_of(name) for name in JOBS}
    for name, (lines, keys, expressions) in sizes.items():
        print(f"{name:<16} {lines:>6} {keys:>5} {expressions:>4}")
    print(f"{'all':<16} {sum(lines for lines, _, _ in sizes.values()):>6}")


if __name__ == "__main__":
    main()

"""Compare the ways in which training can get its CTs: seconds an epoch and space on disk.

Writes its section of docs/benchmarks.md. Run from the repository, on a quiet machine:
    python -m benchmarks.data_loading [--data FOLDER_OF_CTS]

Method: An epoch brings every CT of a prepared cohort (1 mm NIfTI, from `cohort prepare`) onto the grid of the preset
`chest`, 128^3 voxels of 2.5 mm, as (1, 128, 128, 128) float32 in HU: what comes before augmentation and ray casting.
"NIfTI" reads and resamples the NIfTI files. "PersistentDataset" is MONAI's cache in files. "ArrayDataset" is ours, for
`--cache_dir`: an uncompressed int16 .npy file of each CT on the grid, mapped into memory and converted. "CacheDataset"
is MONAI's cache in memory, the default. All have one thread and no workers, and take turns, round by round; the files
lie in the disk cache of the system. The first round fills the caches and is not counted. Medians, smallest and largest
values in brackets.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fire
import torch
from monai.data import CacheDataset, PersistentDataset
from monai.transforms import Compose

from benchmarks.report import cpu_name, ratios, replace_section, spread
from cohort import PrepareOptions, cached_dataset, prepare_cohort
from cohort.phantoms import write_phantoms
from conventions import Keys, report_input_errors
from drr import Acquisition
from transforms import ReadVolumed, ResampleToGridd

TITLE = "Reading the data of an epoch"
"""Title of its section of the page."""

GRID = Acquisition(geometry="chest", curve="water", film_style="linear", anchor="lungs")
"""Onto whose grid CTs are brought."""


def run(data: str | None = None, cases: int = 12, rounds: int = 5, output: str = "docs/benchmarks.md") -> None:
    """Measure and write the section.

    Args:
        data: folder of CTs; by default phantoms are made.
        cases: number of phantoms.
        rounds: number of counted epochs of each way.
        output: page that holds the section.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if data is None:
            write_phantoms(folder / "phantoms", cases, size=256)
        prepared = prepare_cohort(data or folder / "phantoms", folder / "cohort", PrepareOptions())
        files = [folder / "cohort" / case["ct"] for case in prepared.cases]
        ways = _ways(files, folder)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, epoch in ways.items():
                begin = time.perf_counter()
                epoch()
                times[name].append(time.perf_counter() - begin)
        sizes = {
            "NIfTI": _mebibytes(files),
            "PersistentDataset": _mebibytes((folder / "persistent").iterdir()),
            "ArrayDataset": _mebibytes((folder / "arrays").iterdir()),
            "CacheDataset": 0.0,
        }
    counted = {name: values[1:] for name, values in times.items()}
    base = counted["PersistentDataset"]
    lines = [
        "Written by `python -m benchmarks.data_loading`.",
        "",
        __doc__.partition("Method: ")[2] if __doc__ else "",
        f"{len(files)} CTs, {rounds} rounds, {cpu_name()}.",
        "",
        "| way | ms a CT | in times of PersistentDataset | MiB a CT on disk |",
        "|---|---|---|---|",
    ]
    for name, values in counted.items():
        milliseconds = spread([1000 * value / len(files) for value in values])
        lines.append(
            f"| {name} | {milliseconds} | {spread(ratios(values, base), '.2f')} | {sizes[name] / len(files):.1f} |"
        )
    replace_section(output, TITLE, lines)
    print("\n".join(lines[-4:]))


def _ways(files: list[Path], folder: Path) -> dict[str, Callable[[], None]]:
    """Return an epoch of each way by its name; caches are made on the way or in the first epoch."""
    key = Keys.LABEL.value
    transform = Compose([ReadVolumed(key), ResampleToGridd(key, GRID)])
    items = [{key: str(file)} for file in files]
    persistent = PersistentDataset(items, transform, cache_dir=folder / "persistent")
    cached = CacheDataset(items, transform, progress=False)

    def each(dataset: Any) -> Callable[[], None]:
        return lambda: [dataset[number] for number in range(len(items))] and None

    uncached = CacheDataset(items, transform, cache_rate=0.0, progress=False)
    return {
        "NIfTI": each(uncached),
        "PersistentDataset": each(persistent),
        "ArrayDataset": each(cached_dataset(items, transform, cache_dir=folder / "arrays")),
        "CacheDataset": each(cached),
    }


def _mebibytes(files: Any) -> float:
    return sum(file.stat().st_size for file in files) / 2**20


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(run)

"""`python -m reports`: tables and pages of evaluations and cases, comparisons of models. Each command has `--help`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.transforms import Randomizable
from monai.utils import set_determinism

from cohort import load_datalist, patient_keys, view_of
from conventions import InputError, run_command
from engines import StyleEvaluator, check_counts
from losses import GradientCorrelationLoss
from metrics import embedding as make_embedding
from metrics import fid, intensity_wasserstein, kid, power_spectrum_distance
from networks import load
from storage import check_run
from storage.options import check_keys
from transforms import StyleTransfer

from .case_files import write_pages
from .comparison_page import write_comparison_page
from .evaluation_page import write_evaluation_page
from .model_card import write_card
from .style import StyleReport
from .summary import comparison_table, summary_table

CONFIGS = Path(__file__).resolve().parent.parent / "bundle" / "configs"


def summary(folder: str, *others: str) -> None:
    """Print the figures of an evaluation and the locations of its files, or compare several evaluations.

    Args:
        folder: the output_dir of the evaluation.
        others: those of others on the same cases, which are compared with it in one table.
    """
    print(comparison_table([folder, *others]) if others else summary_table(folder))


def case(folder: str, case: str, *others: str) -> None:
    """Write the page of a case, with a viewer, from what evaluating or inferring wrote: `pages/<case>.html`.

    Args:
        folder: the output_dir of the evaluation or of the inference.
        case: name of the case, as in cases.csv.
        others: names of further cases.
    """
    for page in write_pages(folder, [case, *others]):
        print(page)


def cohort(folder: str) -> None:
    """Write the page of an evaluation, `report.html`: what to doubt, figures with intervals, cases, definitions.

    `evaluating` writes it at its end; `cohort prepare` writes the page of a prepared cohort.

    Args:
        folder: the output_dir of the evaluation.
    """
    print(write_evaluation_page(folder))


def compare(first: str, second: str, output: str = "output/comparison.html") -> None:
    """Write a page that compares two evaluations of the same cases by paired differences with intervals.

    Args:
        first: the output_dir of one evaluation.
        second: that of the other.
        output: HTML file to write; a file of an earlier run is renamed.
    """
    print(write_comparison_page(first, second, output))


def card(source: str, *notes: str, card: str = str(CONFIGS.parent / "docs" / "README.md")) -> None:
    """Put the figures of an evaluation into a model card, between its marks, and into figures.json beside it.

    Examples:
        python -m reports card output/evaluation "One of the five patients chose the weights."
        python -m reports card bundle/docs/figures.json

    Args:
        source: the output_dir of the evaluation, or a file of figures, from which the block is made again.
        notes: sentences on the evaluation that stand below its figures.
        card: the model card.
    """
    for path in write_card(source, card, notes):
        print(path)


def style(
    film_dir: str,
    dataset_dir: str,
    output_dir: str = "output/style",
    cyclegan: str | None = None,
    fastcut: str | None = None,
    overlays: Sequence[str] | str = (),
    folds: Sequence[str] | str = ("validation", "test"),
    renderings: int = 1,
    embedding: str | None = None,
    **options: Any,
) -> None:
    """Measure translators of style on films and CTs that they were not trained on.

    Writes style.md, style.csv and a picture of each view and direction. A translator is refused on films and patients
    it was trained on. KID and FID rest on seeded random features, or on the weights of a DenseNet-121.

    Examples:
        python -m reports style FILMS COHORT --cyclegan models/real_to_drr.pt --overlays chest
        python -m reports style FILMS COHORT --overlays chest,augmented --renderings 8

    Args:
        film_dir: folder of real films; the last word of a name marks a lateral.
        dataset_dir: folder of CTs with its manifest.json.
        output_dir: folder to write to; files of an earlier run are renamed.
        cyclegan: real_to_drr.pt of a CycleGAN training; drr_to_real.pt next to it is measured too.
        fastcut: real_to_drr.pt of a FastCUT training.
        overlays: names of the overlays that the translators were trained with, such as chest,augmented.
        folds: folds of the manifest to measure on.
        renderings: DRRs of each CT; more than one with augmented among the overlays.
        embedding: file with the weights of a DenseNet-121 (of torchvision or torchxrayvision).
        **options: keys of train_cyclegan.json, such as --views "['pa']", --radiograph_size 256 or --seed 1.
    """
    parser = _config_of_training(_words(overlays), {"film_dir": film_dir, "dataset_dir": dataset_dir, **options})
    device, seed = parser.get_parsed_content("device"), int(parser.get("seed"))
    check_run(device, [output_dir])
    set_determinism(seed=seed)
    data = [item for fold in _words(folds) for item in load_datalist(dataset_dir, fold)]
    parser.update({"train::data": data})
    acquisition = parser.get_parsed_content("acquisition")
    check_counts([view_of(file) for file in parser.get_parsed_content("film_files")], len(data), acquisition.view_names)
    steps = parser.get_parsed_content("train::preprocessing").transforms
    if renderings > 1 and not any(isinstance(step, Randomizable) for step in steps):
        raise InputError("every rendering of a CT would be the same; give --overlays augmented, or no --renderings")
    films = parser.get_parsed_content("train::films")
    features = make_embedding(embedding, seed=seed)
    held_out, film_keys = patient_keys([data]), [film["film_key"] for film in films]
    paths = {method: path for method, path in (("cyclegan", cyclegan), ("fastcut", fastcut)) if path is not None}
    forth = {method: load(path, held_out=held_out, films=film_keys) for method, path in paths.items()}
    back = {}
    if cyclegan is not None and (reverse := Path(cyclegan).with_name("drr_to_real.pt")).is_file():
        back["cyclegan"] = load(reverse)
    for network, _ in (*forth.values(), *back.values()):
        network.to(device)
    evaluator = StyleEvaluator(
        films=films,
        radiographs=parser.get_parsed_content("train::dataset").radiographs,
        acquisition=acquisition,
        style_transfer=StyleTransfer,
        translators=forth,
        ways_back=back,
        embedding=features,
        kid=kid,
        feature_measures={"fid": fid},
        set_measures={"intensity_wasserstein": intensity_wasserstein, "power_spectrum_db": power_spectrum_distance},
        structure_loss=GradientCorrelationLoss(),
        renderings=renderings,
    )
    compared = {
        "films": len(films),
        "CTs": len(data),
        "renderings of each CT": renderings,
        "pixels": acquisition.detector_shape[0],
        "KID and FID by": features.description,
    }
    print(StyleReport(output_dir, compared)(evaluator.run()))


def _config_of_training(overlays: Sequence[str], options: Mapping[str, Any]) -> ConfigParser:
    """Read the config with which a translator was trained."""
    files = [CONFIGS / f"{name}.json" for name in ("train_cyclegan", *overlays)]
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such overlay; give the names of those that the translators had")
    parser = ConfigParser()
    parser.read_config([str(file) for file in files])
    parser.update({"bundle_root": str(CONFIGS.parent), **options})
    check_keys(parser.get(), CONFIGS, {}, {"the command": options})
    return parser


def _words(value: Sequence[str] | str) -> list[str]:
    words = value.split(",") if isinstance(value, str) else value
    return [str(word).strip() for word in words if str(word).strip()]


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["style"] and "--help" in words:
        words = ["style", "--", "--help"]  # `style` takes any option, so fire would take --help for one
    run_command(
        {"summary": summary, "case": case, "cohort": cohort, "compare": compare, "card": card, "style": style},
        "reports",
        words,
    )

"""The documented commands of several processes, compared with those of one."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from monai.bundle import ConfigParser, run

from conventions import input_error_in
from tests.bundle.conftest import CONFIGS, ROOT, TINY

FOLDS = ["train", "train", "validation", "test", "test", "test"]
"""As many training cases as there are processes, fewer for validation, and no even number of held-out ones."""

SAME_STEPS = {
    # Plain steps, since Adam makes as much of a rounding error as of a gradient.
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 5e-6},
    "adversary::optimizer": {"_target_": "torch.optim.SGD", "params": "$@discriminator.parameters()", "lr": 5e-6},
    "training": [
        "@start",
        "$os.makedirs(@output_dir, exist_ok=True)",
        "$torch.save(@network_def.state_dict(), @output_dir + '/start' + os.environ.get('RANK', '0') + '.pt')",
        "$@train::trainer.run()",
        "$torch.save(@network_def.state_dict(), @output_dir + '/rank' + os.environ.get('RANK', '0') + '.pt')",
    ],
}
"""With dropout off, batches that are split give the same as whole ones. Every process tells its weights."""


def command(processes, verb, *configs, **options):
    """Run a documented command in as many processes, with the tiny network."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    options |= {"bundle_root": ROOT / "bundle", "discriminator_channels": 4, "network_def::dropout": 0.0, **TINY}
    flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    start = [sys.executable, *(torchrun if processes > 1 else []), "-m", "monai.bundle", "run", verb]
    done = subprocess.run(
        [*start, "--config_file", str(list(map(str, configs))), *flags], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def configs_of(job, *more):
    return [CONFIGS / f"{name}.json" for name in (job, "demo", *more)]


@pytest.fixture(scope="module")
def runs(tiny_cohort, tmp_path_factory):
    """Two processes train, and one alone on batches of both; then two evaluate, and one."""
    folder = tmp_path_factory.mktemp("runs")
    cases = json.loads((tiny_cohort / "manifest.json").read_text())["cases"]
    cases = [
        {**case, "ct": str(tiny_cohort / case["ct"]), "fold": fold} for case, fold in zip(cases, FOLDS, strict=True)
    ]
    (folder / "manifest.json").write_text(json.dumps({"cases": cases}))
    overlay = folder / "same_steps.json"
    overlay.write_text(json.dumps(SAME_STEPS))

    def options(name, **more):
        return {"dataset_dir": folder, "output_dir": folder / name, "ckpt_dir": folder / "models" / name, **more}

    train, evaluate = configs_of("train", "multi_gpu_train"), configs_of("evaluate", "multi_gpu_evaluate")
    printed = command(2, "training", *train, overlay, **options("both", batch_size=1, max_epochs=2, resume="latest"))
    command(1, "training", train[0], train[1], overlay, **options("alone", batch_size=2, max_epochs=2))
    model = {"checkpoint": folder / "models" / "both" / "model.pt"}
    command(2, "evaluating", *evaluate, **options("evaluated_by_both", **model))
    command(1, "evaluating", *evaluate[:2], **options("evaluated_alone", **model))
    return SimpleNamespace(folder=folder, printed=printed)


def load(*path):
    return torch.load(os.path.join(*path), weights_only=True)


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_batch_of_both(runs):
    first, second = (load(runs.folder, "both", f"rank{rank}.pt") for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    alone = load(runs.folder, "alone", "rank0.pt")
    torch.testing.assert_close(first, alone, rtol=0, atol=1e-5)
    average, average_alone = (load(runs.folder, "models", name, "model_final.pt") for name in ("both", "alone"))
    torch.testing.assert_close(average, average_alone, rtol=0, atol=1e-5)
    content, content_alone = (load(runs.folder, name, "resume.pt") for name in ("both", "alone"))
    torch.testing.assert_close(content["parts"]["network"], content_alone["parts"]["network"], rtol=0, atol=1e-5)
    for part in ("discriminator", "optimizer"):
        one, other = (each["parts"]["adversary"][part] for each in (content, content_alone))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    start = load(runs.folder, "both", "start0.pt")
    assert max(float((first[name] - start[name]).abs().max()) for name in first) > 5e-5  # far more than they differ


@pytest.mark.slow
def test_the_first_process_writes_and_speaks_for_all(runs):
    assert runs.printed.count("nothing to resume, starting from the beginning") == 1
    left = {
        name: sorted(path.name for path in (runs.folder / name).iterdir()) for name in ("both", "alone", "models/both")
    }
    assert left["both"] == sorted({*left["alone"], "start1.pt", "rank1.pt"})
    assert left["models/both"] == [
        "model.json",
        "model.pt",
        "model_final.json",
        "model_final.pt",
        "model_mean.pt",
        "run.json",
    ]
    both, alone = (len(list((runs.folder / name / "tensorboard").rglob("events*"))) for name in ("both", "alone"))
    assert both == alone
    assert len((runs.folder / "both" / "losses.csv").read_text().splitlines()) == 3


@pytest.mark.slow
def test_two_processes_evaluate_as_one(runs):
    both, alone = runs.folder / "evaluated_by_both", runs.folder / "evaluated_alone"
    for name in ("summary.json", "cases.csv"):
        assert (both / name).read_text() == (alone / name).read_text()
    assert len(json.loads((both / "summary.json").read_text())["held_out_cases"]) == 3
    left = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (both, alone)]
    assert left[0] == left[1]


@pytest.mark.parametrize("job", ["train", "evaluate"])
def test_without_torchrun_there_is_one_sentence(job):
    with pytest.raises(RuntimeError) as caught:
        run(run_id="run", config_file=[str(path) for path in configs_of(job, f"multi_gpu_{job}")], logging_file=False)
    assert "start them with torchrun --nproc_per_node GPUS" in input_error_in(caught.value)


@pytest.mark.parametrize("model", ["x2ct_cnn", "single_view", "cnn2d", "raylift"])
def test_every_model_can_be_trained_by_several_processes(model):
    """Also those without a discriminator: the overlay is the last one given."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.json") for name in ("train", model, "multi_gpu_train")])
    assert (parser["adversary"] is None) == (model != "single_view")
    assert parser["network"]["_target_"].endswith("DistributedDataParallel")

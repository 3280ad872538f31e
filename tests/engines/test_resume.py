"""Runs that die at any moment and go on, on a network small enough to train in a second."""

import copy
import json
import os
import resource
import signal
import traceback

import pytest
import torch
from monai.handlers import LrScheduleHandler
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cohort import EpochSampler
from conventions import InputError
from engines import (
    Adversary,
    ConstantThenLinear,
    EpochSeeds,
    ExponentialAverage,
    ImagePool,
    ModelSaver,
    Resume,
    RunRecorder,
    X2CTTrainer,
)
from losses import LSGANLoss, WeightedLosses

EPOCHS = 4


class Cases(Dataset):
    """Five cases whose radiographs and volumes follow from (epoch, case)."""

    def __len__(self):
        return 5

    def __getitem__(self, place):
        generator = torch.Generator().manual_seed(100 * place[0] + place[1])
        return {
            "image": torch.rand(2, 4, 4, generator=generator),
            "label": torch.rand(1, 4, 4, 4, generator=generator),
            "case": f"case {place[1]}",
        }


class Tiny(nn.Module):
    """A generator with dropout, whose draws must go on as well."""

    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(32, width), nn.Dropout(0.5), nn.Linear(width, 64), nn.Unflatten(1, (1, 4, 4, 4))
        )

    def forward(self, image):
        return self.layers(image)


class Critic(nn.Module):
    """A discriminator without maps."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1))

    def forward(self, x):
        return self.layers(x)


def make_run(folder, mode="latest", seed=0, max_epochs=EPOCHS, width=16, pool=True, precision="fp32"):
    """All that train.json wires, small."""
    torch.manual_seed(seed)
    network, critic = Tiny(width), Critic()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    critic_optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    schedule = ConstantThenLinear(optimizer, 2, 2)
    adversary = Adversary(critic, critic_optimizer, LSGANLoss(), image_pool=ImagePool(3) if pool else None)
    ema = ExponentialAverage(network)
    saver = ModelSaver(folder, ema.module, {"network": "tiny"})
    sampler = EpochSampler(5, seed)
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule, "adversary": adversary, "ema": ema}
    resume = Resume(folder, parts | {"saver": saver}, {"seed": seed}, mode)
    trainer = X2CTTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Cases(), batch_size=2, sampler=sampler),
        network=network,
        optimizer=optimizer,
        loss_function=WeightedLosses({"reconstruction": {"loss": nn.MSELoss(), "weight": 1.0}}),
        adversary=adversary,
        ema=ema,
        precision=precision,
        decollate=False,
        train_handlers=[
            EpochSeeds(seed, sampler),
            LrScheduleHandler(schedule, print_lr=False),
            RunRecorder(folder, ema.module, {}, saver),
            resume,
        ],
    )
    return resume, trainer


def in_a_process_of_its_own(work):
    """Fork, so that the work can be killed; with one thread, since OpenMP does not survive a fork. Its exit status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def train(folder, die=None, **options):
    """A run in a process of its own, which `die` may arrange to kill; whether it came to its end."""

    def work():
        if die is not None:
            die()
        resume, trainer = make_run(folder, **options)
        resume.run(trainer)

    status = in_a_process_of_its_own(work)
    assert os.WIFSIGNALED(status) == (die is not None), status
    assert die is not None or os.WEXITSTATUS(status) == 0


def weights(folder):
    return torch.load(folder / "model_final.pt", weights_only=True)


def assert_same(folder, expected):
    ours = weights(folder)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def at_the_nth_rename(number):
    """Die just before the n-th time that a file is moved into its place."""

    def arrange():
        plain, count = os.replace, iter(range(1, 10**6))

        def replace(*paths):
            if next(count) == number:
                kill()
            plain(*paths)

        os.replace = replace

    return arrange


def in_the_middle_of_the_nth_save(number):
    """Die with half a file written."""

    def arrange():
        plain, count = torch.save, iter(range(1, 10**6))

        def save(content, part):
            plain(content, part)
            if next(count) == number:
                os.truncate(part, os.path.getsize(part) // 2)
                kill()

        torch.save = save

    return arrange


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return weights(folder)


@pytest.mark.parametrize(
    "die",
    [*(at_the_nth_rename(n) for n in range(1, 12)), *(in_the_middle_of_the_nth_save(n) for n in (1, 2, 3, 4))],
)
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(tmp_path, uninterrupted, die):
    train(tmp_path, die)
    train(tmp_path)
    assert_same(tmp_path, uninterrupted)


def test_a_run_killed_again_and_again_ends_with_the_same_weights(tmp_path, uninterrupted):
    for number in (2, 4, 5):
        train(tmp_path, at_the_nth_rename(number))
    train(tmp_path)
    assert_same(tmp_path, uninterrupted)


def test_the_same_seed_gives_the_same_run_and_another_another(tmp_path, uninterrupted):
    train(tmp_path / "same")
    assert_same(tmp_path / "same", uninterrupted)
    train(tmp_path / "other", seed=1)
    other = weights(tmp_path / "other")
    assert not any(torch.equal(other[key], uninterrupted[key]) for key in other)


def test_scales_of_fp16_go_on(tmp_path):
    train(tmp_path / "whole", precision="fp16")
    train(tmp_path / "killed", at_the_nth_rename(5), precision="fp16")
    train(tmp_path / "killed", precision="fp16")
    assert_same(tmp_path / "killed", weights(tmp_path / "whole"))


def test_a_finished_run_is_not_trained_again_unless_it_is_made_longer(tmp_path, caplog):
    train(tmp_path)
    before = weights(tmp_path)
    with caplog.at_level("INFO", logger="x2ct.resume"):
        resume, trainer = make_run(tmp_path)
        resume.run(trainer)
    assert "all 4 epochs of this run are done; train longer with --max_epochs" in caplog.text
    assert_same(tmp_path, before)
    train(tmp_path, max_epochs=5)
    assert json.loads((tmp_path / "run.json").read_text())["epochs"] == 5
    assert not torch.equal(weights(tmp_path)["layers.1.weight"], before["layers.1.weight"])


def test_a_new_run_keeps_what_an_earlier_one_left(tmp_path):
    train(tmp_path)
    train(tmp_path, mode="none", seed=1)
    assert len(list(tmp_path.glob("resume_2*.pt"))) == 1
    assert len(list(tmp_path.glob("model_final_2*.pt"))) == 1


def test_a_broken_file_is_passed_over_for_the_one_before(tmp_path, uninterrupted, caplog):
    train(tmp_path)
    os.truncate(tmp_path / "resume.pt", 1000)
    train(tmp_path)
    assert_same(tmp_path, uninterrupted)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 8}, r"resume.pt: its network does not fit this run"),
        ({"seed": 1}, r"resume.pt: is of a run with seed 0, this one has 1; .* --resume none"),
        ({"pool": False, "precision": "fp32"}, None),
        ({"mode": "/nowhere/resume.pt"}, r"/nowhere/resume.pt: there is no such file; .* --resume latest"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, sentence):
    train(tmp_path)
    before = (tmp_path / "resume.pt").read_bytes()
    resume, trainer = make_run(tmp_path, **change)
    if sentence is None:  # a pool that is no longer wanted is no harm
        resume.run(trainer)
    else:
        with pytest.raises(InputError, match=sentence):
            resume.run(trainer)
    assert (tmp_path / "resume.pt").read_bytes() == before


def test_files_that_are_no_resume_files_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.pt")
    (tmp_path / "text.pt").write_text("nothing")
    for name in ("model.pt", "text.pt"):
        resume, trainer = make_run(tmp_path, mode=tmp_path / name)
        with pytest.raises(InputError, match=r"no resume file; give"):
            resume.run(trainer)


def test_a_full_disk_ends_the_run_in_a_sentence_and_keeps_the_last_good_file(tmp_path, uninterrupted):
    train(tmp_path, at_the_nth_rename(5))
    before = (tmp_path / "resume.pt").read_bytes()
    messages = tmp_path / "message"

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        resume, trainer = make_run(tmp_path)
        try:
            resume.run(trainer)
        except InputError as error:
            messages.write_text(str(error))

    assert in_a_process_of_its_own(work) == 0
    assert "resume.pt: cannot be written" in messages.read_text()
    assert (tmp_path / "resume.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    train(tmp_path)
    assert_same(tmp_path, uninterrupted)


def test_the_state_is_plain(tmp_path):
    """Nothing in the file needs more than tensors and numbers to be read, nor names a case."""
    train(tmp_path)
    content = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert content["epoch"] == EPOCHS
    assert set(content["parts"]) == {"network", "optimizer", "schedule", "adversary", "ema", "saver", "precision"}
    assert "case" not in str(copy.deepcopy(content["settings"]))

"""Runs that are killed at any moment and resumed, on a network small enough to train in a second."""

import copy
import json
import os
import resource
import signal

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cohort import EpochSampler
from conventions import InputError
from engines import Adversary, ConstantThenLinear, ExponentialAverage, ImagePool, X2CTTrainer
from handlers import EpochSeeds, MeanVolume, ModelSaver, Resume, RunRecorder
from losses import LSGANLoss, WeightedLosses
from tests.processes import at_the_nth_rename, deaths, in_a_process_of_its_own

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
            "geometry": torch.zeros(2, 4, 3),
            "case": f"case {place[1]}",
        }


class Tiny(nn.Module):
    """A generator with dropout, whose draws must continue as well."""

    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(32, width), nn.Dropout(0.5), nn.Linear(width, 64), nn.Unflatten(1, (1, 4, 4, 4))
        )

    def forward(self, image, geometry=None):
        return self.layers(image)


class Critic(nn.Module):
    """A discriminator without maps."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 1))

    def forward(self, x):
        return self.layers(x)


def make_run(folder, mode="latest", seed=0, max_epochs=EPOCHS, width=16, pool=True, precision="fp32", settings=None,
             initial_model=None):  # fmt: skip
    """All that train.json wires, small."""
    torch.manual_seed(seed)
    network, critic = Tiny(width), Critic()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    critic_optimizer = torch.optim.Adam(critic.parameters(), 1e-2)
    adversary = Adversary(
        critic,
        critic_optimizer,
        LSGANLoss(),
        image_pool=ImagePool(3) if pool else None,
        lr_scheduler=ConstantThenLinear(critic_optimizer, 2, 2),
    )
    ema, mean = ExponentialAverage(network), MeanVolume()
    saver = ModelSaver(folder, ema.module, {"network": "tiny"})
    sampler = EpochSampler(5, seed)
    return X2CTTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Cases(), batch_size=2, sampler=sampler),
        network=network,
        optimizer=optimizer,
        loss_function=WeightedLosses({"reconstruction": {"loss": nn.MSELoss(), "weight": 1.0}}),
        adversary=adversary,
        lr_scheduler=ConstantThenLinear(optimizer, 2, 2),
        ema=ema,
        precision=precision,
        train_handlers=[EpochSeeds(seed, sampler), mean, RunRecorder(folder, ema.module, {}, saver)],
        resume=Resume(
            folder, settings or {"seed": seed}, mode, {"saver": saver, "mean_volume": mean}, initial_model=initial_model
        ),
    )


def train(folder, die=None, **options):
    """A run in a process of its own, which `die` may arrange to kill; whether it came to its end."""

    def work():
        if die is not None:
            die()
        make_run(folder, **options).run()

    status = in_a_process_of_its_own(work)
    assert os.WIFSIGNALED(status) == (die is not None), status
    assert die is not None or os.WEXITSTATUS(status) == 0


def weights(folder):
    return torch.load(folder / "model_final.pt", weights_only=True)


def assert_same(folder, expected):
    ours = weights(folder)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    train(folder)
    return weights(folder)


@pytest.mark.parametrize("die", deaths(renames=tuple(range(1, 12)), saves=(1, 2, 3, 4)))
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


def test_scales_of_fp16_are_restored(tmp_path):
    train(tmp_path / "whole", precision="fp16")
    train(tmp_path / "killed", at_the_nth_rename(5), precision="fp16")
    train(tmp_path / "killed", precision="fp16")
    assert_same(tmp_path / "killed", weights(tmp_path / "whole"))


def test_a_finished_run_is_not_trained_again_unless_it_is_made_longer(tmp_path, caplog):
    train(tmp_path)
    before = weights(tmp_path)
    with caplog.at_level("INFO", logger="x2ct.resume"):
        make_run(tmp_path).run()
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


def test_a_run_may_begin_with_the_weights_of_a_model(tmp_path):
    train(tmp_path / "first")
    first = weights(tmp_path / "first")
    options = {"seed": 1, "initial_model": tmp_path / "first" / "model_final.pt"}
    trainer = make_run(tmp_path / "second", **options)
    assert trainer.resume.restore(trainer)
    for module in (trainer.network, trainer.parts["ema"].module):
        assert all(torch.equal(value, first[name]) for name, value in module.state_dict().items())
    train(tmp_path / "second", at_the_nth_rename(5), **options)
    train(tmp_path / "second", **options)  # goes on, and does not begin again
    train(tmp_path / "third", **options)
    assert_same(tmp_path / "second", weights(tmp_path / "third"))
    assert not any(torch.equal(first[name], value) for name, value in weights(tmp_path / "second").items())


def test_weights_of_another_network_are_refused_before_training(tmp_path):
    train(tmp_path / "first")
    trainer = make_run(tmp_path / "second", width=8, initial_model=tmp_path / "first" / "model_final.pt")
    with pytest.raises(InputError, match=r"model_final.pt: .* has the shape .* this network needs"):
        trainer.run()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"width": 8}, r"resume.pt: its network does not fit this run", id="another network"),
        pytest.param(
            {"seed": 1}, r"resume.pt: belongs to a run with seed 0, this one has 1; .* --resume none", id="another seed"
        ),
        pytest.param(
            {"mode": "/nowhere/resume.pt"},
            r"/nowhere/resume.pt: there is no such file; .* --resume latest",
            id="no such file",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, sentence):
    train(tmp_path)
    before = (tmp_path / "resume.pt").read_bytes()
    with pytest.raises(InputError, match=sentence):
        make_run(tmp_path, **change).run()
    assert (tmp_path / "resume.pt").read_bytes() == before


def test_a_pool_that_is_no_longer_wanted_is_no_harm(tmp_path):
    train(tmp_path)
    before = (tmp_path / "resume.pt").read_bytes()
    make_run(tmp_path, pool=False).run()
    assert (tmp_path / "resume.pt").read_bytes() == before


def test_the_setting_that_differs_is_named(tmp_path):
    settings = {"acquisition": {"geometry": "x2ct", "grid": {"shape": (8, 8, 8), "spacing": (1.0, 1.0, 1.0)}}}
    make_run(tmp_path, settings=settings, max_epochs=1).run()
    other = copy.deepcopy(settings)
    other["acquisition"]["grid"]["spacing"] = (2.5, 1.0, 1.0)
    found = r"run with acquisition grid spacing \[1.0, 1.0, 1.0\], this one has \[2.5, 1.0, 1.0\]"
    with pytest.raises(InputError, match=found):
        make_run(tmp_path, settings=other).run()


def test_a_part_that_is_new_is_named(tmp_path):
    train(tmp_path)
    trainer = make_run(tmp_path)
    trainer.resume.parts["curves"] = MeanVolume()
    with pytest.raises(InputError, match="belongs to a run without curves"):
        trainer.run()


def test_a_trainer_that_has_trained_continues_where_it_is(tmp_path):
    """As in the rounds of a federation, which change the weights in between."""
    trainer = make_run(tmp_path, max_epochs=1)
    trainer.run()
    with torch.no_grad():
        trainer.network.layers[1].weight.zero_()
    before = trainer.network.layers[1].weight.clone()
    given = []
    trainer.network.register_forward_pre_hook(lambda network, _: given.append(network.layers[1].weight.clone()))
    trainer.state.max_epochs = 2
    trainer.run()
    assert torch.equal(given[0], before)
    assert trainer.state.epoch == 2
    assert torch.load(tmp_path / "resume.pt", weights_only=True)["epoch"] == 2


def test_files_that_are_no_resume_files_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.pt")
    (tmp_path / "text.pt").write_text("nothing")
    for name in ("model.pt", "text.pt"):
        with pytest.raises(InputError, match=r"no resume file; give"):
            make_run(tmp_path, mode=tmp_path / name).run()


def test_a_full_disk_ends_the_run_in_a_sentence_and_keeps_the_last_good_file(tmp_path, uninterrupted):
    train(tmp_path, at_the_nth_rename(5))
    before = (tmp_path / "resume.pt").read_bytes()
    messages = tmp_path / "message"

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        try:
            make_run(tmp_path).run()
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
    of_trainer = {"network", "optimizer", "lr_scheduler", "adversary", "ema", "precision"}
    assert set(content["parts"]) == of_trainer | {"saver", "mean_volume"}
    assert set(content["parts"]["adversary"]) == {"discriminator", "optimizer", "lr_scheduler", "image_pool"}
    assert "case" not in str(copy.deepcopy(content["settings"]))

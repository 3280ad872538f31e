"""Two processes that train and evaluate together, compared with one that does it alone."""

import json

import ignite.distributed as idist
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cohort import EpochSampler, share_of_process
from conventions import InputError
from engines import Adversary, ConstantThenLinear, ExponentialAverage, X2CTEvaluator, X2CTTrainer, join_processes
from handlers import EvaluationSummary, ModelSaver, Resume
from losses import FeatureMatchingLoss, LSGANLoss, WeightedLosses
from metrics import volume_metrics
from tests.processes import in_processes
from transforms import UnitToHUd

CASES = 8


class Cases(torch.utils.data.Dataset):
    """Radiographs and volumes that follow from (epoch, case)."""

    def __getitem__(self, place):
        generator = torch.Generator().manual_seed(100 * place[0] + place[1])
        return {
            "image": torch.rand(2, 4, 4, generator=generator),
            "label": torch.rand(1, 4, 4, 4, generator=generator),
            "geometry": torch.zeros(2, 4, 3),
        }


class Tiny(nn.Module):
    """A generator whose second tail serves the auxiliary output alone, as those of the views do."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.Tanh())
        self.tail = nn.Sequential(nn.Linear(16, 64), nn.Unflatten(1, (1, 4, 4, 4)))
        self.tail_of_view = nn.Sequential(nn.Linear(16, 64), nn.Unflatten(1, (1, 4, 4, 4)))

    def forward(self, image, geometry=None):
        return self.tail(self.body(image))

    def forward_with_views(self, image):
        feature = self.body(image)
        return self.tail(feature), [self.tail_of_view(feature)]


class Constant(nn.Module):
    """A generator of volumes of one value, that of its image."""

    def forward(self, image, geometry=None):
        return image.reshape(-1, 1, 1, 1, 1).expand(-1, 1, 8, 8, 8)


class Critic(nn.Module):
    """A discriminator that shows its features."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x)

    def features(self, x):
        hidden = self.layers[:3](x)
        return [hidden, self.layers[3](hidden)]


def make_run(folder, max_epochs=2, batch=4, auxiliary=False, matching=False, accumulation=1):
    """All that train.json and multi_gpu_train.json wire, small; `batch` is that of all processes."""
    torch.manual_seed(0)
    network, critic = Tiny(), Critic()
    world_size = idist.get_world_size()
    if world_size > 1:
        network = DistributedDataParallel(network, find_unused_parameters=True)
        critic = DistributedDataParallel(critic)
    # Plain steps, since Adam would make as much of a gradient of rounding errors as of any other.
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    critic_optimizer = torch.optim.SGD(critic.parameters(), 0.1, momentum=0.9)
    feature_matching = {"feature_matching_loss": FeatureMatchingLoss(), "feature_matching_weight": 1.0}
    adversary = Adversary(
        critic,
        critic_optimizer,
        LSGANLoss(),
        weight=1.0,
        warmup_steps=1,
        lr_scheduler=ConstantThenLinear(critic_optimizer, 1, 3),
        **(feature_matching if matching else {}),
    )
    ema = ExponentialAverage(network)
    saver = ModelSaver(folder, ema.module, {})
    return X2CTTrainer(
        device="cpu",
        max_epochs=max_epochs,
        train_data_loader=DataLoader(Cases(), batch_size=batch // world_size, sampler=EpochSampler(CASES, 0)),
        network=network,
        optimizer=optimizer,
        loss_function=WeightedLosses({"reconstruction": {"loss": nn.MSELoss(), "weight": 1.0}}),
        adversary=adversary,
        auxiliary_loss=nn.MSELoss(),
        auxiliary_weight=1.0 if auxiliary else 0.0,
        lr_scheduler=ConstantThenLinear(optimizer, 1, 3),
        ema=ema,
        accumulation_steps=accumulation,
        decollate=False,
        resume=Resume(folder, {"world_size": world_size}, "latest", {"saver": saver}),
    )


def train(folder, rank=0, **options):
    """A run, and what it ends with on this process."""
    trainer = make_run(folder, **options)
    trainer.run()
    final = {name: trainer.parts[name].state_dict() for name in ("network", "ema")}
    final["critic"] = trainer.parts["adversary"].state_dict()["discriminator"]
    torch.save(final, folder / f"final_{rank}.pt")
    return final


def finals(folder):
    return [torch.load(folder / f"final_{rank}.pt", weights_only=True) for rank in range(2)]


def flat(final):
    return {f"{part} {name}": value for part, state in final.items() for name, value in state.items()}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="every batch"),
        pytest.param({"batch": 2, "accumulation": 2}, id="accumulated"),
        pytest.param({"batch": 2, "accumulation": 3}, id="accumulated with a rest"),
        pytest.param({"auxiliary": True}, id="auxiliary loss"),
        pytest.param({"matching": True}, id="feature matching"),
    ],
)
def test_two_processes_train_as_one_with_the_batch_of_both(tmp_path, options):
    expected = flat(train(tmp_path / "alone", **options))
    together = tmp_path / "together"
    in_processes(lambda rank: train(together, rank, **options))
    first, second = map(flat, finals(together))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-6)
    torch.manual_seed(0)
    start = Tiny().state_dict()
    moved = {name for name, value in start.items() if not torch.equal(first[f"network {name}"], value)}
    unused = set() if options.get("auxiliary") else {"tail_of_view.0.weight", "tail_of_view.0.bias"}
    assert moved == start.keys() - unused


def test_both_resume_from_the_file_of_the_first(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    in_processes(lambda rank: train(whole, rank, max_epochs=4))
    in_processes(lambda rank: train(stopped, rank, max_epochs=2))
    content = torch.load(stopped / "resume.pt", weights_only=True)
    assert content["parts"]["network"].keys() == Tiny().state_dict().keys()
    assert content["parts"]["adversary"]["discriminator"].keys() == Critic().state_dict().keys()
    in_processes(lambda rank: train(stopped, rank, max_epochs=4))
    torch.testing.assert_close([flat(f) for f in finals(stopped)], [flat(f) for f in finals(whole)], rtol=0, atol=0)
    files = {"resume.pt", "resume_previous.pt", "final_0.pt", "final_1.pt"}
    assert {path.name for path in stopped.iterdir()} == files
    with pytest.raises(InputError, match="belongs to a run with world_size 2, this one has 1"):
        train(stopped)


def evaluate(folder, cases, rank=0):
    """An evaluation of noise, and the metrics that this process knows."""
    generator = torch.Generator().manual_seed(0)
    data = [
        {
            "case": f"case {i}",
            "image": torch.full((1,), i / 10),
            "label": torch.rand(1, 8, 8, 8, generator=generator),
            "geometry": torch.zeros(1, 4, 3),
        }
        for i in range(cases)
    ]
    network = Constant()
    evaluator = X2CTEvaluator(
        device="cpu",
        val_data_loader=DataLoader(CacheDataset(share_of_process(data), progress=False)),
        network=network,
        postprocessing=UnitToHUd(("pred", "label")),
        key_val_metric=volume_metrics(),
        val_handlers=[EvaluationSummary(folder), ModelSaver(folder, network, {})],
    )
    evaluator.run()
    (folder / f"metrics_{rank}.json").write_text(json.dumps(evaluator.state.metrics))


@pytest.mark.parametrize("cases", [1, 2, 5])
def test_two_processes_evaluate_as_one_however_many_cases_there_are(tmp_path, cases):
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir(), together.mkdir()
    evaluate(alone, cases)
    in_processes(lambda rank: evaluate(together, cases, rank))
    for name in ("summary.json", "cases.csv", "evaluation.json", "metrics_0.json"):
        assert (together / name).read_text() == (alone / name).read_text()
    assert (together / "metrics_1.json").read_text() == (alone / "metrics_0.json").read_text()
    written = {"summary.json", "cases.csv", "evaluation.json", "metrics_0.json", "model.pt", "model.json"}
    assert {path.name for path in together.iterdir()} == written | {"metrics_1.json"}


def test_what_torchrun_did_not_start_is_refused():
    with pytest.raises(InputError, match="start them with torchrun --nproc_per_node GPUS"):
        join_processes("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    with pytest.raises(InputError, match="device 'cuda:99' is not"):
        join_processes("cuda:99")


def test_one_mlflow_store_for_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setattr("sys.argv", ["monai.bundle", "run", "training", "--tracking", "mlflow"])
    with pytest.raises(InputError, match="--tracking is for a single process"):
        join_processes("cpu")

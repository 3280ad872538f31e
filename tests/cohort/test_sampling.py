import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, Lambdad, RandGaussianNoised

from cohort import EpochSampler, SeededDataset, share_of_process


def test_an_epoch_holds_every_case_once_in_an_order_of_its_own():
    sampler = EpochSampler(20, seed=3)
    orders = {}
    for epoch in (1, 2, 1):
        sampler.set_epoch(epoch)
        places = list(sampler)
        assert {epoch for epoch, _ in places} == {epoch}
        order = [index for _, index in places]
        assert sorted(order) == list(range(20))
        assert orders.setdefault(epoch, order) == order
    assert orders[1] != orders[2]
    assert [i for _, i in EpochSampler(20, seed=4)] != orders[1]


@pytest.mark.parametrize(("length", "batch"), [(12, 4), (10, 4)])
def test_processes_share_the_batches_of_one(length, batch):
    alone = [index for _, index in EpochSampler(length, seed=1)]
    ranks = [[index for _, index in EpochSampler(length, 1, rank, 2)] for rank in range(2)]
    assert len(ranks[0]) == len(ranks[1]) == length // 2
    for start in range(0, length - length % batch, batch):
        half = slice(start // 2, start // 2 + batch // 2)
        assert sorted(ranks[0][half] + ranks[1][half]) == sorted(alone[start : start + batch])


def test_an_order_that_does_not_divide_is_filled_up():
    ranks = [list(EpochSampler(5, 1, rank, 2)) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [3, 3]
    assert {index for rank in ranks for _, index in rank} == set(range(5))


def noisy_cases(seed):
    transform = Compose([Lambdad("image", lambda x: x * 1.0), RandGaussianNoised("image", prob=1.0)])
    data = [{"image": torch.full((1, 3), float(i)), "case": f"case {i}"} for i in range(6)]
    return SeededDataset(CacheDataset(data, transform, progress=False), seed)


def test_what_is_random_in_a_case_follows_from_seed_epoch_and_case_alone():
    dataset = noisy_cases(0)
    first = dataset[1, 2]["image"]
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    dataset[1, 4]
    assert torch.equal(dataset[1, 2]["image"], first)
    assert torch.equal(noisy_cases(0)[1, 2]["image"], first)
    different = [dataset[2, 2], dataset[1, 3], noisy_cases(1)[1, 2]]
    assert not any(torch.equal(item["image"] - item["image"].round(), first - first.round()) for item in different)


def test_reading_leaves_torchs_generator_alone():
    dataset = noisy_cases(0)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    dataset[1, 0]
    assert torch.equal(torch.rand(1), expected)


def test_the_number_of_workers_does_not_matter():
    batches = []
    for workers in (0, 2):
        loader = DataLoader(noisy_cases(0), batch_size=2, sampler=EpochSampler(6, 0), num_workers=workers)
        torch.manual_seed(workers)
        batches.append([batch["image"] for batch in loader])
    for alone, shared in zip(*batches, strict=True):
        assert torch.equal(torch.as_tensor(alone), torch.as_tensor(shared))


@pytest.mark.parametrize(("cases", "processes"), [(5, 1), (5, 2), (4, 4), (11, 3)])
def test_shares_of_processes_in_order_are_the_whole_in_order(cases, processes):
    shares = [share_of_process(range(cases), rank, processes) for rank in range(processes)]
    assert [case for share in shares for case in share] == list(range(cases))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_where_cases_are_fewer_than_processes_each_has_all():
    assert [share_of_process(["a", "b"], rank, 3) for rank in range(3)] == [["a", "b"]] * 3

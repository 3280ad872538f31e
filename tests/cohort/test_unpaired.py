"""Films and CTs that have nothing to do with each other."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cohort import UnpairedDataset, UnpairedSampler, check_folders, prepared_films
from cohort.unpaired import view_of
from conventions import InputError
from drr import VolumeGrid
from export import write_png16
from tests.film_phantom import films as phantom_films

GRID = VolumeGrid((64, 64, 64), 5.0)


@pytest.mark.parametrize(
    ("name", "view"),
    [
        *((name, "lateral") for name in ("a_lateral.png", "a-LAT.dcm", "a l.jpg", "ll.png")),
        *((name, "pa") for name in ("a_pa.png", "nih_001.png", "a_bilateral.png", "lateral_1.png")),
    ],
)
def test_the_last_word_of_a_name_tells_the_view(name, view):
    assert view_of(Path(name)) == view


def pictures(folder, count, shape=(80, 64)):
    folder.mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, shape, np.uint8)
        Image.fromarray(pixels).save(folder / f"film_{i}.png")
    return folder


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_folders_that_cannot_be_trained_on_are_refused_at_once(tmp_path):
    films, cts = pictures(tmp_path / "films", 2), touch(tmp_path / "cts", "a.nii.gz", "b.nii")
    assert len(check_folders(films, cts, 128)) == 2
    assert len(check_folders(films, tmp_path / "made later", 128)) == 2
    for arguments, words in [
        ((cts, films, 128), r"cts: holds CTs and no films; exchange --film_dir and --dataset_dir"),
        ((films, films, 128), r"films: holds films and no CTs; exchange"),
        ((pictures(tmp_path / "one", 1), cts, 128), r"one: holds 1 film\(s\); a translator needs 2 or more"),
        ((touch(tmp_path / "none"), cts, 128), r"none: holds 0 film\(s\)"),
        ((tmp_path / "nowhere", cts, 128), r"nowhere: there is no such folder; give --film_dir"),
        ((None, cts, 128), r"give --film_dir, a folder of radiographs"),
        ((films, cts, 130), r"radiograph_size 130 is no multiple of 4"),
    ]:
        with pytest.raises(InputError, match=words):
            check_folders(*arguments)


def test_films_without_a_chest_are_named_and_left_out(tmp_path, caplog):
    files = sorted(pictures(tmp_path / "noise", 2, (8, 8)).iterdir())
    files.append(touch(tmp_path / "broken", "cut.png") / "cut.png")
    write_png16(tmp_path / "drr.png", np.random.default_rng(0).random((64, 64), np.float32), {"geometry": "x2ct"})
    files.append(tmp_path / "drr.png")
    with pytest.raises(InputError, match=r"0 of 4 films can be used, 2 are needed; the last one: .*drr.png: was compu"):
        prepared_films(files, GRID, 64, progress=False)
    assert [record.getMessage().startswith("left out") for record in caplog.records] == [True] * 4
    with pytest.raises(InputError, match="none is of a view that is asked for"):
        prepared_films(files, GRID, 64, views=["lateral"], progress=False)


def test_what_became_of_a_film_is_kept_as_long_as_nothing_changes(tmp_path, monkeypatch):
    files = []
    for seed in range(2):
        pixels = (phantom_films(seed)[0] * 65535).astype(np.uint16)
        files.append(tmp_path / f"case{seed}_pa.png")
        Image.fromarray(pixels).save(files[-1])
    plain = prepared_films(files, GRID, 64, progress=False)
    kept = tmp_path / "kept"
    first = prepared_films(files, GRID, 64, cache_dir=kept, progress=False)
    read = []
    monkeypatch.setattr("cohort.unpaired.ReadRadiograph", lambda view: lambda file: read.append(file))
    again = prepared_films(files, GRID, 64, cache_dir=kept, progress=False)
    assert not read
    for a, b, c in zip(plain, first, again, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["image"], c["image"])
        assert {k: v for k, v in a.items() if k != "image"} == {k: v for k, v in c.items() if k != "image"}
    assert plain[0]["film_key"] == hashlib.sha256(files[0].read_bytes()).hexdigest()[:16]
    files[0].write_bytes(files[0].read_bytes() + b" ")
    with pytest.raises(AttributeError):
        prepared_films(files, GRID, 64, cache_dir=kept, progress=False)
    assert read == [files[0]]
    with pytest.raises(AttributeError):
        prepared_films(files[1:] * 2, GRID, 96, cache_dir=kept, progress=False)


class Radiographs:
    def __len__(self):
        return 3

    def __getitem__(self, place):
        return {"image": torch.stack([torch.full((8, 8), 10.0 * place[1] + view) for view in (0, 1)]), "case": "ct"}


def film(view="pa", size=8):
    return {"image": torch.zeros(1, size, size), "view": view, "case": "film"}


def test_an_item_is_of_one_view():
    data = UnpairedDataset([film(), film("lateral")], Radiographs())
    item = data[5, 1, 2, 1]
    assert item["drr"].shape == item["real"].shape == (1, 8, 8)
    assert (float(item["drr"][0, 0, 0]), item["view"], item["case"]) == (21.0, "lateral", "film and ct")


def test_films_of_mixed_sizes_or_one_image_are_refused():
    for films, words in [([film(), film(size=12)], "have the sizes"), ([film(size=10)] * 2, "a multiple of 4")]:
        with pytest.raises(InputError, match=words):
            UnpairedDataset(films, Radiographs())
    with pytest.raises(InputError, match="1 films to train on"):
        UnpairedDataset([film()], Radiographs())


def places(**options):
    sampler = UnpairedSampler(["pa"] * 7 + ["lateral"] * 2, 4, **options)
    sampler.set_epoch(3)
    return list(sampler)


def test_views_come_equally_often_and_both_sides_go_round():
    found = places(length=20)
    assert Counter(view for *_, view in found) == {0: 10, 1: 10}
    assert all((film < 7) == (view == 0) for _, film, _, view in found)
    counts = Counter(film for _, film, *_ in found)
    assert {counts[film] for film in range(7)} == {1, 2}
    assert {counts[film] for film in (7, 8)} == {5}
    assert {epoch for epoch, *_ in found} == {3}
    for view in (0, 1):
        cases = Counter(case for *_, case, of in found if of == view)
        assert set(cases) == {0, 1, 2, 3}
        assert max(cases.values()) <= 3


def test_unbalanced_every_film_comes_once():
    assert sorted(film for _, film, *_ in places(balanced=False)) == list(range(9))


def test_order_follows_from_seed_and_epoch_and_processes_share_it():
    assert places() == places()
    assert places(seed=1) != places()
    whole = places(length=10)
    assert places(length=10, world_size=2)[::1] == whole[::2]
    assert places(length=10, world_size=2, rank=1) == whole[1::2]


def test_a_view_without_films_is_left_out(caplog):
    sampler = UnpairedSampler(["pa"] * 3, 5)
    assert {view for *_, view in sampler} == {0}
    assert len(sampler) == 5
    assert "no film is a lateral one" in caplog.text
    with pytest.raises(InputError, match="no film is of the views lateral"):
        UnpairedSampler(["pa"] * 3, 5, views=["lateral"])

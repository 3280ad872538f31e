"""Unpaired films and CTs."""

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import CacheDataset
from monai.transforms import Compose
from PIL import Image

from cohort import (
    SeededDataset,
    UnpairedDataset,
    UnpairedSampler,
    describe_unpaired,
    find_films,
    patient_keys,
    prepared_films,
    unpaired_loader,
)
from cohort.unpaired import view_of
from conventions import InputError
from drr import Acquisition, VolumeGrid
from export import write_png16
from storage import read_tensors, write_tensors
from tests.film_phantom import films as phantom_films
from transforms import MatchFieldOfView, ReadRadiograph

CHEST = Acquisition(grid=VolumeGrid(64, 5.0), geometry="chest", detector_shape=64)


@pytest.mark.parametrize(
    ("name", "view"),
    [
        *((name, "lateral") for name in ("a_lateral.png", "a-LAT.dcm", "a l.jpg", "ll.png")),
        *((name, "pa") for name in ("a_pa.png", "nih_001.png", "a_bilateral.png", "lateral_1.png")),
    ],
)
def test_the_last_word_of_a_name_gives_the_view(name, view):
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
    assert find_films(films, cts, 128) == [films / "film_0.png", films / "film_1.png"]
    assert len(find_films(films, tmp_path / "made later", 128)) == 2
    assert len(find_films(films, touch(tmp_path / "mha", "a.mha", "check.png"), 128)) == 2
    for arguments, words in [
        ((cts, films, 128), r"cts: holds CTs and no films; exchange --film_dir and --dataset_dir"),
        ((films, films, 128), r"films: holds films and no CTs; exchange"),
        ((pictures(tmp_path / "one", 1), cts, 128), r"one: holds 1 film\(s\); a translator needs at least 2"),
        ((touch(tmp_path / "none"), cts, 128), r"none: holds 0 film\(s\)"),
        ((tmp_path / "nowhere", cts, 128), r"nowhere: there is no such folder; give --film_dir"),
        ((None, cts, 128), r"give --film_dir, a folder of radiographs"),
        ((films, None, 128), r"no cohort was given: give --dataset_dir FOLDER"),
        ((films, cts, 130), r"radiograph_size must be a multiple of 4 from 32 up, got 130"),
    ]:
        with pytest.raises(InputError, match=words):
            find_films(*arguments)


def test_films_without_a_chest_are_left_out_with_a_warning(tmp_path, caplog):
    files = sorted(pictures(tmp_path / "noise", 2, (8, 8)).iterdir())
    files.append(touch(tmp_path / "broken", "cut.png") / "cut.png")
    write_png16(tmp_path / "drr.png", np.random.default_rng(0).random((64, 64), np.float32), {"geometry": "x2ct"})
    files.append(tmp_path / "drr.png")
    with pytest.raises(InputError, match=r"0 of 4 films can be used, 2 are needed; last problem: .*drr.png: is a DRR"):
        prepared_films(files, CHEST, progress=False)
    assert [record.getMessage().startswith("left out") for record in caplog.records] == [True] * 4
    with pytest.raises(InputError, match="no file name gives one of the views lateral"):
        prepared_films(files, CHEST.replace(view_names=("lateral",)), progress=False)
    with pytest.raises(InputError, match="unknown view 'oblique_45'"):
        prepared_films(files, CHEST.replace(view_names=("oblique_45",)), progress=False)


@pytest.fixture(scope="module")
def film_files(tmp_path_factory):
    """PA and lateral films of two phantoms."""
    folder = tmp_path_factory.mktemp("films")
    for seed in range(2):
        for name, pixels in zip(("pa", "lateral"), phantom_films(seed), strict=True):
            Image.fromarray((pixels * 65535).astype(np.uint16)).save(folder / f"case{seed}_{name}.png")
    return sorted(folder.iterdir())


def test_films_are_matched_as_for_a_model_of_the_acquisition(film_files):
    films = prepared_films(film_files, CHEST, progress=False)
    assert [(film["case"], film["view"]) for film in films] == [
        (file.stem, file.stem.partition("_")[2]) for file in film_files
    ]
    for file, film in zip(film_files, films, strict=True):
        one_view = CHEST.replace(view_names=(film["view"],))
        assert torch.equal(film["image"], MatchFieldOfView(one_view)([ReadRadiograph(film["view"])(file)]).as_tensor())
        assert film["image"].shape == (1, 64, 64)
        assert film["film_key"] == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    pa = prepared_films(film_files, CHEST.replace(view_names=("pa",), detector_shape=32), progress=False)
    assert [film["case"] for film in pa] == ["case0_pa", "case1_pa"]
    assert pa[0]["image"].shape == (1, 32, 32)


def test_matched_films_are_kept_as_long_as_file_and_acquisition_are_the_same(film_files, tmp_path):
    files = [Path(shutil.copy(file, tmp_path)) for file in film_files[1::2]]  # the PA films
    cache = tmp_path / "cache"

    def kept(acquisition=CHEST):
        """Prepare the films and return them, and the files that came into the cache."""
        before = set(cache.glob("*"))
        return prepared_films(files, acquisition, cache_dir=cache, progress=False), set(cache.glob("*")) - before

    first, made = kept()
    assert len(made) == 2
    for film, plain in zip(first, prepared_films(files, CHEST, progress=False), strict=True):
        assert torch.equal(film.pop("image"), plain.pop("image"))
        assert film == plain
    for file in made:
        write_tensors(file, read_tensors(file, "{reason}") / 2)
    again, made_again = kept()  # what the files hold now shows that no film was read
    assert not made_again
    assert all(float(film["image"].max()) <= 0.5 for film in again)
    files[0].write_bytes(files[0].read_bytes() + b" ")
    films, made_again = kept()
    assert len(made_again) == 1
    assert [float(film["image"].max()) > 0.5 for film in films] == [True, False]
    for changed in ({"detector_shape": 32}, {"geometry": "x2ct"}, {"anchor": "centre"}):
        assert len(kept(CHEST.replace(**changed))[1]) == 2
    assert not kept(CHEST.replace(view_names=("pa",)))[1]  # the views of other films do not matter


def drrs(count=3):
    """DRRs of which each pixel says case and view: 10 case + view."""
    image = [torch.stack([torch.full((8, 8), 10.0 * case + view) for view in (0, 1)]) for case in range(count)]
    items = [{"image": image[case], "case": f"ct_{case}", "patient": f"p{case}"} for case in range(count)]
    return SeededDataset(CacheDataset(items, Compose([]), progress=False))


def film(view="pa", size=8):
    return {"image": torch.zeros(1, size, size), "view": view, "case": "film"}


def test_an_item_is_of_one_view():
    data = UnpairedDataset([film(), film("lateral")], drrs())
    item = data[5, 1, 2, 1]
    assert item["drr"].shape == item["real"].shape == (1, 8, 8)
    assert (float(item["drr"][0, 0, 0]), item["view"], item["case"]) == (21.0, "lateral", "film and ct_2")


def test_films_of_mixed_sizes_or_one_image_are_refused():
    for films, words in [([film(), film(size=12)], "have the sizes"), ([film(size=10)] * 2, "a multiple of 4")]:
        with pytest.raises(InputError, match=words):
            UnpairedDataset(films, drrs())
    with pytest.raises(InputError, match="1 films to train on; a translator needs at least 2"):
        UnpairedDataset([film()], drrs())


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
    assert "there is no lateral film" in caplog.text
    with pytest.raises(InputError, match="there is no film of the views lateral"):
        UnpairedSampler(["pa"] * 3, 5, views=["lateral"])


@pytest.mark.parametrize("workers", [pytest.param(0, id="no workers"), pytest.param(2, id="two workers")])
def test_the_loader_gives_pairs_of_one_view(workers):
    films = [film("pa")] * 3 + [film("lateral")]
    loader = unpaired_loader(UnpairedDataset(films, drrs()), ("pa", "lateral"), batch_size=2, num_workers=workers)
    batches = list(loader)
    assert [batch["real"].shape for batch in batches] == [(2, 1, 8, 8)] * 3
    views = [view for batch in batches for view in batch["view"]]
    assert Counter(views) == {"pa": 3, "lateral": 3}
    values = torch.cat([batch["drr"][:, 0, 0, 0] for batch in batches])
    assert [("pa", "lateral")[int(value) % 10] for value in values] == views


def test_the_data_of_a_translator_are_counted_and_kept_as_keys():
    films = [{**film(), "film_key": key} for key in ("f2", "f1")]
    cases = [{"patient": "a"}, {"patient": "b"}, {"patient": "a"}]
    assert describe_unpaired(films, cases) == {
        "data": {"films": 2, "train_cases": 3},
        "patients": patient_keys([cases]),
        "film_keys": ["f1", "f2"],
    }

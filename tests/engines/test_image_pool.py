import json

import torch

from engines import ImagePool


def test_the_pool_shows_what_the_authors_pool_shows(oracle):
    """CycleGAN's pool, from the same random numbers: image ids by step, what is left, the next random number."""
    for case in json.loads((oracle / "cyclegan" / "pool.json").read_text()):
        pool = ImagePool(case["pool_size"], seed=case["python_random_seed"])
        batch, number = case["batch"], 0
        for expected in case["returned_ids_per_step"]:
            shown = pool.query(torch.arange(number, number + batch).reshape(batch, 1, 1, 1))
            assert shown.flatten().tolist() == expected
            number += batch
        assert [int(image) for image in pool.images] == case["pool_after"]
        assert pool.random.random() == case["next_random"]


def test_a_pool_goes_on_where_it_was():
    first = ImagePool(3, seed=1)
    images = torch.arange(40.0).reshape(20, 2, 1, 1)
    first.query(images[:10])
    second = ImagePool(3, seed=9)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.query(images[10:]), first.query(images[10:]))


def test_an_empty_pool_shows_the_very_images():
    images = torch.rand(2, 1, 2, 2)
    assert ImagePool(0).query(images) is images

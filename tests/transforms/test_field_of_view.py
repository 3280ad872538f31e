import json

import numpy as np
import pytest
import torch

from conventions import InputError, View
from drr import VolumeGrid, preset
from tests.film_phantom import BEAMS, DETECTOR_MM, GRID, PIXELS, as_read, films, lungs
from transforms import MatchFieldOfView, MatchFieldOfViewd
from transforms.films.reference import lung_place

SIZE = 128
SPACING = DETECTOR_MM / PIXELS
KNOWN_MM, UNKNOWN_MM = 5.0, 10.0
"""How far from the direct rendering structures may land."""


def matcher(**options):
    return MatchFieldOfView(GRID, SIZE, "chest", "centre", **options)


def cropped(seed, rng, spacing):
    """Two films, cut at random, and what was cut off at the top and the left."""
    read, cuts = [], []
    for view, film in zip(View, films(seed), strict=True):
        top, left, bottom, right = rng.integers(0, 25, 4)
        read.append(as_read(film[top : PIXELS - bottom, left : PIXELS - right], view, spacing))
        cuts.append((top, left))
    return read, cuts


def landings(seed, spacing):
    """Where points around the lungs' centre land, and where the direct rendering has them, in mm in the mid-plane."""
    read, cuts = cropped(seed, np.random.default_rng(seed), spacing)
    match = matcher()
    placed = match(read).meta["films"]
    d, h, w = (
        np.flatnonzero(lungs(seed).any(tuple(a for a in range(3) if a != axis)))[[0, -1]].mean() for axis in range(3)
    )
    found = {}
    for i, view in enumerate(View):
        across = [(d + a, h + (b if i else 0), w + (0 if i else b)) for a in (-25, 0, 25) for b in (-25, 0, 25)]
        points = GRID.positions_lps(np.array(across))
        on_film = BEAMS[i].project_points(points) + 0.5 - np.array(cuts[i])
        top, bottom, left, right = placed[i].frame
        landed = (on_film - [top, left]) / [bottom - top, right - left] * SIZE
        direct = preset("chest", (SIZE, SIZE))[i].project_points(points) + 0.5
        found[view] = (landed * match.fields[i].pitch, direct * match.fields[i].pitch)
    return found


def off_centre(landed, direct):
    """Mean distance that is left when both have one centre: the error of the scale."""
    return np.linalg.norm((landed - landed.mean(0)) - (direct - direct.mean(0)), axis=1).mean()


@pytest.mark.parametrize(("spacing", "allowed"), [(SPACING, KNOWN_MM), (None, UNKNOWN_MM)])
def test_structures_land_where_the_direct_rendering_has_them(spacing, allowed):
    scales, heights, places = [], [], []
    for seed in range(4):
        found = landings(seed, spacing)
        scales += [off_centre(*pair) for pair in found.values()]
        for view, (landed, _) in found.items():  # where the reference has its lungs, not where the phantom has them
            place = lung_place("chest", "centre", view)
            aim = np.array([place.top + place.bottom, place.left + place.right]) / 2
            middle = SIZE / 2 * matcher().fields[list(View).index(view)].pitch
            places.append(np.linalg.norm(landed.mean(0) - middle - aim))
        heights.append(np.subtract(*[(landed - direct).mean(0)[0] for landed, direct in found.values()]))
    assert np.mean(scales) < allowed
    assert np.mean(places) < 25
    assert np.median(np.abs(heights)) < allowed  # PA and lateral lie at one height


def test_a_computed_radiograph_is_taken_as_it_is():
    image = torch.rand(2, SIZE, SIZE)
    read = [
        as_read(plane.numpy(), view, computed={"geometry": "chest"}) for view, plane in zip(View, image, strict=True)
    ]
    out = matcher()(read)
    np.testing.assert_array_equal(out.numpy(), image.numpy())
    np.testing.assert_allclose(out.affine.numpy(), GRID.affine())
    assert tuple(out.meta["spatial_shape"]) == GRID.shape


@pytest.mark.parametrize(
    ("shape", "computed", "words"),
    [
        ((SIZE, SIZE), {"geometry": "x2ct"}, "was computed for geometry 'x2ct', this model is for 'chest'"),
        ((SIZE, SIZE // 2), {"geometry": "chest"}, "128 x 64 pixels are not square"),
    ],
)
def test_a_computed_radiograph_of_another_kind_is_refused(shape, computed, words):
    read = [as_read(np.zeros(shape), view, computed=computed) for view in View]
    with pytest.raises(InputError, match=words):
        matcher()(read)


def test_a_film_that_covers_the_detector_can_be_given_as_it_is():
    read = [as_read(film, view) for view, film in zip(View, films(0), strict=True)]
    assert matcher(mode="given")(read).shape == (2, SIZE, SIZE)
    with pytest.raises(InputError, match="'match' or 'given'"):
        matcher(mode="guess")


def test_a_spacing_that_cannot_be_right_is_not_believed():
    right = [as_read(film, view, None) for view, film in zip(View, films(0), strict=True)]
    wrong = [as_read(film, view, SPACING / 4) for view, film in zip(View, films(0), strict=True)]
    np.testing.assert_allclose(matcher()(wrong).numpy(), matcher()(right).numpy(), atol=1e-6)
    assert "spacing" in [doubt.subject for doubt in wrong[0].meta["record"].doubts]


def test_one_known_spacing_serves_both_films():
    both = [as_read(film, view, SPACING) for view, film in zip(View, films(0), strict=True)]
    one = [as_read(films(0)[0], View.PA, SPACING), as_read(films(0)[1], View.LATERAL)]
    scales = []
    for read in (both, one):
        placed = matcher()(read).meta["films"]
        scales.append([film.frame[1] - film.frame[0] for film in placed])
    assert scales[1][0] == pytest.approx(scales[0][0])
    assert scales[1][1] == pytest.approx(scales[0][1], rel=0.15)


def test_beyond_the_volume_it_is_dark():
    read = [as_read(np.maximum(film, 0.2), view) for view, film in zip(View, films(0), strict=True)]
    image = matcher()(read).numpy()
    beam = preset("chest", (SIZE, SIZE))[0]
    inside = beam.ray_support(VolumeGrid((1, 1, 1), (320.0, 320.0, 1e5))) > 0
    assert not image[0][~inside].any()
    assert image[0][SIZE // 2].max() > 0.2


def test_a_single_view_is_matched_alone():
    out = matcher(views=("pa",))([as_read(films(1)[0], View.PA)])
    assert out.shape == (1, SIZE, SIZE)
    with pytest.raises(InputError, match=r"1 radiograph\(s\), this model needs 2"):
        matcher()([as_read(films(1)[0], View.PA)])


def test_the_dictionary_form_does_the_same_and_the_record_is_fit_for_json():
    read = [as_read(film, view) for view, film in zip(View, films(0), strict=True)]
    out = MatchFieldOfViewd("image", GRID, SIZE, "chest", "centre")({"image": read})["image"]
    np.testing.assert_array_equal(
        out.numpy(), matcher()([as_read(f, v) for v, f in zip(View, films(0), strict=True)]).numpy()
    )
    json.dumps([film.record.to_list() for film in out.meta["films"]])

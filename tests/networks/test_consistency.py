"""The update against dense matrices, its own algebra, and films that are wrong."""

import pytest
import torch

from cohort.phantoms import thorax_phantom
from conventions import HU_WINDOW, InputError, hu_to_unit, unit_to_hu
from drr import Acquisition, ConeBeam, VolumeGrid, geometry_tensor, hu_to_mu, project, to_film
from networks import ConsistencyUpdate, consistency_update

GRID = VolumeGrid(6, 20.0)
PIXELS = (5, 5)
VIEWS = (
    ConeBeam.pa(sdd=1800, sod=1650, detector_size=120.0, detector_shape=PIXELS),
    ConeBeam.lateral(detector_side="left", sdd=1800, sod=1600, detector_size=120.0, detector_shape=PIXELS),
)
ACQUISITION = Acquisition(grid=GRID, geometry=VIEWS, curve="water", film_style="linear", anchor="centre")
MU_WATER = 0.0194


def soft_tissue(seed, batch=1):
    """Unit volumes between -500 and 200 HU: far from the clip at air and from that of the film."""
    generator = torch.Generator().manual_seed(seed)
    volume_hu = -500 + 700 * torch.rand(batch, 1, *GRID.shape, generator=generator, dtype=torch.float64)
    return hu_to_unit(volume_hu)


def mu_of(volume):
    return hu_to_mu(unit_to_hu(volume), "water")


def films(volume, views=VIEWS):
    return to_film(project(mu_of(volume), GRID, views, backend="reference"), "linear")


def dense_matrix():
    """A as a matrix (pixels, voxels), voxel by voxel from the reference projector."""
    voxels = torch.eye(6**3, dtype=torch.float64).reshape(-1, 1, 6, 6, 6)
    return project(voxels, GRID, VIEWS, backend="reference").flatten(1).T


def test_closed_form_by_dense_matrices():
    predicted, truth = soft_tissue(0), soft_tissue(1)
    update = ConsistencyUpdate(ACQUISITION, damping=0.05, iterations=60, tolerance=1e-12)
    found, records, _ = update.update(predicted, films(truth))
    matrix = dense_matrix()
    square = matrix @ matrix.T
    weight = 0.05 * square.sum(1).mean()
    v0, y = mu_of(predicted).flatten(), 8 * films(truth).flatten()
    expected = v0 + matrix.T @ torch.linalg.solve(square + weight * torch.eye(50, dtype=torch.float64), y - matrix @ v0)
    assert records[0].weight_mm2 == pytest.approx(float(weight), rel=1e-6)
    torch.testing.assert_close(mu_of(found).flatten(), expected, rtol=1e-5, atol=1e-9)
    before, after = (y - matrix @ v for v in (v0, expected))
    assert records[0].before == pytest.approx(before.reshape(2, 25).square().mean(1).sqrt().tolist(), rel=1e-9)
    assert records[0].after == pytest.approx(after.reshape(2, 25).square().mean(1).sqrt().tolist(), rel=1e-4)


def test_default_accuracy():
    predicted, truth = soft_tissue(0), soft_tissue(1)
    exact = ConsistencyUpdate(ACQUISITION, iterations=60, tolerance=1e-12)(predicted, films(truth)) - predicted
    fast = ConsistencyUpdate(ACQUISITION)(predicted.float(), films(truth).float()) - predicted.float()
    assert float((fast - exact).norm() / exact.norm()) < 2e-3


def test_little_damping_reproduces_the_films():
    predicted, truth = soft_tissue(0), soft_tissue(1)
    update = ConsistencyUpdate(ACQUISITION, damping=1e-6, iterations=100, tolerance=1e-10)
    again = films(update(predicted, films(truth)))
    torch.testing.assert_close(again, films(truth), rtol=0, atol=2e-5)


def test_nothing_changes_where_the_films_agree():
    volume = soft_tissue(0)
    found, records, _ = ConsistencyUpdate(ACQUISITION).update(volume, films(volume))
    torch.testing.assert_close(found, volume, rtol=0, atol=1e-12)
    assert max(records[0].before) < 1e-9


def test_air_stays_air():
    """No attenuation becomes negative, and HU below -1000 stay as they are where nothing is added."""
    empty = torch.zeros(1, 1, *GRID.shape, dtype=torch.float64)
    update = ConsistencyUpdate(ACQUISITION)
    assert torch.equal(update(empty, torch.zeros(1, 2, *PIXELS, dtype=torch.float64)), empty)
    less = films(soft_tissue(0)) * 0.1
    assert float(unit_to_hu(update(soft_tissue(0), less)).min()) >= -1000.001


def test_gradients():
    """Numerical derivatives in the volume, the films and the damping."""
    predicted, image = soft_tissue(0).requires_grad_(), films(soft_tissue(1)).requires_grad_()
    damping = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, 1, *GRID.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def result(volume, film, amount):
        update = ConsistencyUpdate(ACQUISITION, damping=amount, iterations=80, tolerance=1e-13)
        return (weights * update(volume, film)).sum()

    assert torch.autograd.gradcheck(result, (predicted, image, damping), eps=1e-5, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_rays_that_are_not_measured_take_no_part():
    predicted, truth = soft_tissue(0), soft_tissue(1)
    image = films(truth)
    field = torch.ones_like(image)
    field[..., :2] = 0
    update = ConsistencyUpdate(ACQUISITION)
    spoiled = image.clone()
    spoiled[..., :2] = 0
    assert torch.equal(update(predicted, spoiled, field=field), update(predicted, image, field=field))
    clipped = image.clone()
    clipped[..., :2] = 1  # the clip of style linear
    assert torch.equal(update(predicted, clipped), update(predicted, image, field=field))


def test_neither_other_cases_nor_the_order_of_views_matter():
    predicted, image = soft_tissue(0, 3), films(soft_tissue(1, 3))
    update = ConsistencyUpdate(ACQUISITION)
    together = update(predicted, image)
    assert torch.equal(update(predicted[1:2], image[1:2]), together[1:2])
    geometry = geometry_tensor(VIEWS[::-1]).expand(3, -1, -1, -1)
    torch.testing.assert_close(update(predicted, image.flip(1), geometry), together, rtol=0, atol=1e-6)


def test_tones_that_are_off_by_a_line_are_fitted_away():
    predicted, truth = soft_tissue(0), soft_tissue(1)
    image = films(truth)
    affine = ConsistencyUpdate(ACQUISITION, tone="affine")
    torch.testing.assert_close(affine(predicted, 0.6 * image + 0.1), affine(predicted, image), rtol=0, atol=1e-9)
    relative = ConsistencyUpdate(
        Acquisition(grid=GRID, geometry=VIEWS, curve="water", film_style="x2ct", anchor="centre")
    )
    torch.testing.assert_close(relative(predicted, 0.6 * image + 0.1), affine(predicted, image), rtol=0, atol=1e-9)


def test_real_films_are_trusted_less():
    predicted, image = soft_tissue(0), films(soft_tissue(1))
    chosen = {real: ConsistencyUpdate(ACQUISITION).update(predicted, image, real=real)[1][0] for real in (False, True)}
    assert [(c.tone, c.damping) for c in chosen.values()] == [("given", pytest.approx(0.1)), ("monotone", 1.0)]
    own = ConsistencyUpdate(ACQUISITION, tone="affine", damping=0.5).update(predicted, image, real=True)[1][0]
    assert (own.tone, own.damping) == ("affine", 0.5)


def test_damping_in_mm2():
    """A tenth is about 100 mm2 at 128^3 in chest, the lambda of the trial whose gains the defaults rest on."""
    acquisition = Acquisition(geometry="chest", curve="water", film_style="linear", anchor="centre")
    volume = torch.full((1, 1, 128, 128, 128), 0.4)
    image = torch.full((1, 2, 128, 128), 0.5)
    record = ConsistencyUpdate(acquisition, iterations=1).update(volume, image)[1][0]
    assert 80 < record.weight_mm2 < 140


class TestBadInput:
    update = ConsistencyUpdate(ACQUISITION)

    def test_shapes(self):
        volume, image = soft_tissue(0), films(soft_tissue(0))
        with pytest.raises(InputError, match=r"volume has shape \(1, 1, 6, 6, 5\)"):
            self.update(volume[..., :5], image)
        with pytest.raises(InputError, match=r"2 volume\(s\) need \(2, views, rows, columns\)"):
            self.update(soft_tissue(0, 2), image)
        with pytest.raises(InputError, match="give the geometry of these films"):
            self.update(volume, image[:, :1])
        with pytest.raises(InputError, match=r"the geometry has shape \(1, 1, 4, 3\)"):
            self.update(volume, image, geometry_tensor(VIEWS[:1]))
        with pytest.raises(InputError, match="one value a pixel"):
            self.update(volume, image, field=image[..., 1:])

    def test_a_view_without_rays(self):
        volume, image = soft_tissue(0), films(soft_tissue(0))
        field = torch.ones_like(image)
        field[:, 1] = 0
        with pytest.raises(InputError, match="a view shows nothing of the volume"):
            self.update(volume, image, field=field)

    def test_what_a_user_asks_for(self):
        assert consistency_update("none", ACQUISITION) is None
        assert consistency_update("auto", ACQUISITION).tone is None
        assert consistency_update("affine", ACQUISITION, damping=0.5).tone == "affine"
        with pytest.raises(InputError, match=r"unknown consistency 'yes'.*none, auto, given, affine, monotone"):
            consistency_update("yes", ACQUISITION)

    def test_arguments(self):
        with pytest.raises(InputError, match=r"unknown tone 'linear'.*given, affine, monotone"):
            ConsistencyUpdate(ACQUISITION, tone="linear")
        with pytest.raises(InputError, match="must be positive, got 0"):
            ConsistencyUpdate(ACQUISITION, damping=0)
        with pytest.raises(InputError, match="tolerance between 0 and 1"):
            ConsistencyUpdate(ACQUISITION, tolerance=1)
        with pytest.raises(InputError, match="keeps no absolute attenuation"):
            ConsistencyUpdate(Acquisition(), tone="given")


def test_window():
    """Other unit values of the same HU give the same HU."""
    volume_hu, image = unit_to_hu(soft_tissue(0)), films(soft_tissue(1))
    wide = (-1500.0, 2000.0)
    found = ConsistencyUpdate(ACQUISITION, wide)(hu_to_unit(volume_hu, wide), image)
    expected = ConsistencyUpdate(ACQUISITION, HU_WINDOW)(hu_to_unit(volume_hu), image)
    torch.testing.assert_close(unit_to_hu(found, wide), unit_to_hu(expected), rtol=0, atol=1e-6)


class TestDoubts:
    """Phantoms at 32^3: films that fit leave no doubt; mirrored, exchanged and another patient's do."""

    grid = VolumeGrid(32, 10.0)
    acquisition = Acquisition(
        grid=grid, geometry="chest", curve="water", film_style="linear", detector_shape=32, anchor="centre"
    )

    @pytest.fixture
    def case(self):
        truth = hu_to_unit(torch.from_numpy(thorax_phantom(0, (32, 32, 32), 10.0).volume_hu).float())[None, None]
        predicted = torch.nn.functional.avg_pool3d(truth, 3, stride=1, padding=1, count_include_pad=False)
        return predicted, self.films(truth), self.films(truth.roll(4, 2))

    def films(self, volume):
        return to_film(project(mu_of(volume), self.grid, self.acquisition.views), "linear")

    def doubts(self, predicted, image, **options):
        return ConsistencyUpdate(self.acquisition, **options).update(predicted, image)[1][0].doubts

    @pytest.mark.parametrize("tone", ["given", "affine", "monotone"])
    def test_films_that_fit(self, case, tone):
        assert self.doubts(*case[:2], tone=tone) == ((), ())

    @pytest.mark.parametrize("tone", ["given", "monotone"])
    @pytest.mark.parametrize("view", [0, 1])
    def test_a_mirrored_view(self, case, view, tone):
        image = case[1].clone()
        image[:, view] = image[:, view].flip(-1)
        found = self.doubts(case[0], image, tone=tone)
        assert any("better mirrored left to right" in doubt for doubt in found[view])

    def test_an_image_upside_down(self, case):
        image = case[1].clone()
        image[:, 1] = image[:, 1].flip(-2)
        assert any("better upside down" in doubt for doubt in self.doubts(case[0], image, tone="affine")[1])

    @pytest.mark.parametrize("tone", ["affine", "monotone"])
    def test_an_inverted_film(self, case, tone):
        """It is doubted and takes no part; the volume stays as it is."""
        predicted, image, _ = case
        found, records, _ = ConsistencyUpdate(self.acquisition, tone=tone).update(predicted, 0.9 - image)
        for doubts in records[0].doubts:
            assert any("check whether it is inverted" in doubt for doubt in doubts)
        torch.testing.assert_close(found, predicted)

    def test_exchanged_views(self, case):
        first, second = self.doubts(case[0], case[1].flip(1), tone="affine")
        assert any("in the place of view 2" in doubt for doubt in first)
        assert any("in the place of view 1" in doubt for doubt in second)

    def test_tones_that_are_not_those_given(self, case):
        assert any("check the film, its tones" in doubt for doubt in self.doubts(case[0], 0.6 * case[1])[0])

    def test_films_that_contradict_each_other(self, case):
        """The lateral film is 40 mm lower, so no volume explains both."""
        image = torch.stack([case[1][:, 0], case[2][:, 1]], 1)
        assert any(self.doubts(case[0], image))

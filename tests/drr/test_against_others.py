"""The projector against programs that share no line with it: ITK's ray caster, plastimatch and a plain sum.

ITK and plastimatch treat the outermost layer of a volume in their own ways: ITK gives nothing for the last slice that
a ray crosses, nor beyond the outer voxels' centres; plastimatch's `exact` gives nothing for the first voxel, and its
`uniform` rounds the last step up. The volumes are therefore laid in two layers of air, where all agree on nothing.
"""

import itertools
import shutil
import subprocess

import itk
import numpy as np
import pytest
import torch

from cohort import thorax_phantom
from drr import (
    X2CT_ISOCENTRE_SLIP,
    Acquisition,
    ConeBeam,
    ParallelBeam,
    VolumeGrid,
    geometry_tensor,
    hu_to_mu,
    preset,
    project,
)
from tests.drr_phantom import turned
from transforms import ReadVolume, ResampleToGrid

AIR_LAYERS = 2
"""Layers of air around each volume."""

GRID = VolumeGrid((128, 128, 128), 2.5)
IN_AIR = VolumeGrid([n + 2 * AIR_LAYERS for n in GRID.shape], GRID.spacing)

ITK_TOLERANCE = 1e-10
"""Relative RMSE against ITK's ray caster in float64: both compute Joseph's sum, in another order."""

SUM_TOLERANCE = 1e-12
"""Relative RMSE of a parallel beam along an axis, in float64, against a plain sum of the voxels."""

FAR_CONE_TOLERANCE = 1e-4
"""The same for a source 9 km away: its rays still drift by 1e-4 voxels."""

PLASTIMATCH_UNIFORM = 2e-3
"""RMSE against `-i uniform` (trilinear steps of 0.75 voxels), relative to the image's maximum."""

PLASTIMATCH_EXACT = 1.5e-2
"""Relative RMSE against `-i exact` (Siddon): two models of the same voxels, which differ at edges."""

MARKER_SIGMA = 5.0
"""Width of a marker, in mm."""

MARKER_PIXELS = 0.05
"""How far a marker may lie, in pixels, from where plastimatch and the law of rays put it."""


def relative_rmse(image, truth):
    return np.sqrt(np.mean((image - truth) ** 2) / np.mean(truth**2))


def itk_volume(volume):
    """A volume (D, H, W) as an ITK image, whose arrays run (z, y, x) in LPS, centred on the origin."""
    array = np.ascontiguousarray(volume[::-1])
    image = itk.image_from_array(array)
    spacing = list(GRID.spacing[::-1])
    image.SetSpacing(spacing)
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(array.shape[::-1], spacing, strict=True)])
    return image


def itk_ray_cast(mu, view, detector_shape):
    """Line integrals (rows, columns) by ITK: the pixels are the samples of an image that lies in the detector."""
    kind, identity = itk.Image[itk.D, 3], itk.IdentityTransform[itk.D, 3].New()
    source, centre, column_step, row_step = view.numpy()
    rows, columns = detector_shape
    pitch = np.linalg.norm([column_step, row_step], axis=1)
    right, down = column_step / pitch[0], row_step / pitch[1]
    caster = itk.RayCastInterpolateImageFunction[kind, itk.D].New()
    caster.SetFocalPoint(source.tolist())
    caster.SetThreshold(0.0)
    caster.SetTransform(identity)
    film = itk.ResampleImageFilter[kind, kind].New(Input=itk_volume(mu), Interpolator=caster, Transform=identity)
    film.SetSize([columns, rows, 1])
    film.SetOutputSpacing([*pitch.tolist(), 1.0])
    film.SetOutputDirection(itk.matrix_from_array(np.column_stack([right, down, np.cross(right, down)])))
    film.SetOutputOrigin((centre - (columns - 1) / 2 * column_step - (rows - 1) / 2 * row_step).tolist())
    film.Update()
    return itk.array_from_image(film.GetOutput())[0]


def phantom_hu():
    return torch.from_numpy(thorax_phantom(3, GRID.shape, GRID.spacing[0]).volume_hu).double()


def assert_itk_agrees(volume_hu, name, device):
    mu = torch.nn.functional.pad(hu_to_mu(volume_hu), [AIR_LAYERS] * 6)
    geometry = geometry_tensor(preset(name), torch.float64)
    if name == "chest":  # the wide cone of x2ct, turned, has rays beyond 45 degrees, where ITK takes another axis
        rotation = torch.from_numpy(turned(0, 12.0) @ turned(2, 25.0))
        geometry = torch.cat([geometry, geometry[:, :1] @ rotation.T], dim=1)
    expected = np.stack([itk_ray_cast(mu.numpy(), view, (128, 128)) for view in geometry[0]])
    assert expected.max() > 3
    for backend in ("reference", "auto"):
        volume = mu[None, None].to(device)
        images = project(volume, IN_AIR, geometry, backend, detector_shape=(128, 128))[0].cpu().numpy()
        for image, truth in zip(images, expected, strict=True):
            assert relative_rmse(image, truth) <= ITK_TOLERANCE, backend


@pytest.mark.parametrize("name", ["chest", "x2ct"])
def test_itk_on_a_phantom(name, device):
    assert_itk_agrees(phantom_hu(), name, device)


@pytest.mark.parametrize("name", ["chest", "x2ct"])
def test_itk_on_real_cts(name, device, real_data):
    files = sorted((real_data / "ct").glob("*.nii.gz"))
    for file in (files[0], files[-1]):
        assert_itk_agrees(
            ResampleToGrid(Acquisition(grid=GRID, anchor="centre"))(ReadVolume()(file))[0].as_tensor().double(),
            name,
            device,
        )


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_parallel_beams_and_a_distant_source_see_the_plain_sum(backend, device):
    mu = torch.rand(1, 1, 24, 20, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grid = VolumeGrid((24, 20, 28), (2.5, 2.0, 1.5))
    far = 9e6
    pa = {"column_step": (1.5, 0, 0), "row_step": (0, 0, -2.5), "detector_shape": (24, 28)}
    lateral = {"column_step": (0, 2.0, 0), "row_step": (0, 0, -2.5), "detector_shape": (24, 20)}
    for view, axis, tolerance in (
        (ParallelBeam(direction=(0, -1, 0), detector_centre=(0, -100, 0), **pa), 1, SUM_TOLERANCE),
        (ParallelBeam(direction=(1, 0, 0), detector_centre=(100, 0, 0), **lateral), 2, SUM_TOLERANCE),
        (ConeBeam(source=(0, far, 0), detector_centre=(0, -100, 0), **pa), 1, FAR_CONE_TOLERANCE),
        (ConeBeam(source=(-far, 0, 0), detector_centre=(100, 0, 0), **lateral), 2, FAR_CONE_TOLERANCE),
    ):
        image = project(mu.to(device), grid, [view], backend)[0, 0].cpu().numpy()
        total = mu[0, 0].sum(axis).numpy() * grid.spacing[axis]
        assert relative_rmse(image, total) <= tolerance


@pytest.fixture
def plastimatch(tmp_path):
    """A function that runs plastimatch as the authors did: HU (D, H, W) -> line integrals (2, rows, columns)."""
    program = shutil.which("plastimatch")
    if program is None:
        pytest.skip("no plastimatch on this machine: apt-get install plastimatch")

    def run(volume_hu, algorithm, pixels=320, slip=(0.0, 0.0, 0.0)):
        # The volume's corner lies at the origin and the isocentre at its middle, as in the authors' files.
        image = itk_volume(volume_hu.astype(np.float32))
        middle = [(n - 1) / 2 * s for n, s in zip(volume_hu.shape[::-1], GRID.spacing[::-1], strict=True)]
        isocentre = np.add(middle, slip).tolist()
        image.SetOrigin([0.0] * 3)
        itk.imwrite(image, str(tmp_path / "ct.mha"))
        films = []
        for normal in ("0 1 0", "1 0 0"):
            options = ["-i", algorithm, "--sad", "541", "--sid", "949", "-r", f"{pixels} {pixels}", "-z", "500 500"]
            options += ["-n", normal, "-o", " ".join(map(str, isocentre)), "-t", "pfm", "-O", str(tmp_path / "film_")]
            subprocess.run([program, "drr", *options, str(tmp_path / "ct.mha")], check=True, capture_output=True)
            films.append(read_pfm(tmp_path / "film_0000.pfm"))
        pa, lateral = films
        return 10 * np.stack([np.fliplr(pa), lateral])  # the program writes a tenth; the authors flip the PA alone

    return run


def read_pfm(path):
    kind, size, scale, values = path.read_bytes().split(b"\n", 3)
    assert (kind, scale) == (b"Pf", b"-1")  # one channel, little-endian
    columns, rows = map(int, size.split())
    return np.frombuffer(values, "<f4").reshape(rows, columns).astype(np.float64)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_plastimatch_on_a_phantom(plastimatch, backend):
    volume_hu = torch.nn.functional.pad(phantom_hu(), [AIR_LAYERS] * 6, value=-1000.0)
    mu = hu_to_mu(volume_hu, "plastimatch")[None, None]
    images = project(mu.float(), IN_AIR, preset("x2ct", (320, 320)), backend)[0].double().numpy()
    uniform, exact = (plastimatch(volume_hu.numpy(), algorithm) for algorithm in ("uniform", "exact"))
    for image, steps, siddon in zip(images, uniform, exact, strict=True):
        assert np.sqrt(np.mean((image - steps) ** 2)) <= PLASTIMATCH_UNIFORM * steps.max()
        assert relative_rmse(image, siddon) <= PLASTIMATCH_EXACT
        # No other way to lay the film on the table comes near.
        for turn, flip in itertools.product(range(4), (False, True)):
            laid = np.rot90(np.fliplr(siddon) if flip else siddon, turn)
            assert (turn, flip) == (0, False) or relative_rmse(image, laid) > 10 * PLASTIMATCH_EXACT


@pytest.mark.parametrize(
    "position", [(60.0, 0.0, 0.0), (0.0, -60.0, 0.0), (0.0, 0.0, 60.0), (60.0, -45.0, 30.0)], ids=str
)
def test_markers_lie_where_plastimatch_puts_them(plastimatch, position):
    """One marker at the patient's left, one in front, one towards the head, and one that is all three."""
    grid = VolumeGrid((65, 65, 65), 2.5)  # odd, so that a voxel's centre lies at each position
    x, y, z = position
    d, h, w = np.indices(grid.shape) * 2.5 - 80.0
    squared = (d + z) ** 2 + (h - y) ** 2 + (w - x) ** 2
    # A blob rather than a box, whose sharp edges would fall on this or that side of a pixel's centre.
    volume_hu = -1000.0 + 2000.0 * np.exp(-squared / (2 * MARKER_SIGMA**2))
    mu = hu_to_mu(torch.from_numpy(volume_hu), "plastimatch")[None, None]
    pa, lateral = preset("x2ct", (320, 320))
    ours = project(mu, grid, [pa, lateral])[0].numpy()
    theirs = plastimatch(volume_hu, "exact")
    # The source is at the back (PA) and at the patient's left (lateral); columns run to the left and to the back.
    per_pixel = 500 / 320
    expected = ((949 / (541 - y), x), (949 / (541 - x), y))
    for our, their, (magnification, across) in zip(ours, theirs, expected, strict=True):
        law = np.array([159.5 - magnification * z / per_pixel, 159.5 + magnification * across / per_pixel])
        np.testing.assert_allclose(centroid(our), centroid(their), rtol=0, atol=MARKER_PIXELS)
        np.testing.assert_allclose(centroid(our), law, rtol=0, atol=MARKER_PIXELS)


def test_the_authors_slip_of_the_isocentre(plastimatch):
    """They gave z as 159 instead of 159.5 mm: source and detector stood half a millimetre nearer to the feet."""
    d, h, w = np.indices((65, 65, 65)) * 2.5 - 80.0
    volume_hu = -1000.0 + 2000.0 * np.exp(-(d**2 + h**2 + w**2) / (2 * MARKER_SIGMA**2))
    mu = hu_to_mu(torch.from_numpy(volume_hu), "plastimatch")[None, None]
    grid = VolumeGrid((65, 65, 65), 2.5)
    views = [view.moved(X2CT_ISOCENTRE_SLIP) for view in preset("x2ct", (320, 320))]
    theirs = plastimatch(volume_hu, "uniform", slip=(0.0, 0.0, -0.5))  # `exact` has steps of a voxel
    for our, their in zip(project(mu, grid, views)[0].numpy(), theirs, strict=True):
        np.testing.assert_allclose(centroid(our), centroid(their), rtol=0, atol=MARKER_PIXELS)
        higher = 0.5 * 949 / 541 / (500 / 320)
        np.testing.assert_allclose(centroid(our), [159.5 - higher, 159.5], rtol=0, atol=MARKER_PIXELS)


def centroid(image):
    return np.array([np.average(index, weights=image) for index in np.indices(image.shape)])

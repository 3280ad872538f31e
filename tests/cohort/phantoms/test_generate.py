import itk
import nibabel
import numpy as np
import pytest

from cohort import thorax_phantom
from cohort.phantoms import write_phantoms
from conventions import InputError
from drr import Acquisition, VolumeGrid
from transforms import ReadVolume, ResampleToGrid


def test_a_cohort_reads_back_as_the_phantoms(tmp_path):
    files = write_phantoms(tmp_path, cases=2, seed=3, size=32)
    assert [f.name for f in files] == ["phantom_0003.nii.gz", "phantom_0004.nii.gz"]
    expected = thorax_phantom(3, (32, 32, 32), 10.0).volume_hu.clip(-1024, 3071)  # noise in the air
    volume = ResampleToGrid(Acquisition(grid=VolumeGrid(32, 10.0), anchor="centre"))(ReadVolume()(files[0]))
    np.testing.assert_allclose(volume[0].numpy(), expected, atol=0.51)
    # An independent reader finds the axes: ITK's first axis is ours last, which runs to the left (LPS +x).
    image = itk.imread(str(files[0]))
    direction = itk.array_from_matrix(image.GetDirection())
    np.testing.assert_allclose(direction, [[0, 0, 1], [0, 1, 0], [-1, 0, 0]], atol=1e-6)
    assert b"phantom" in nibabel.load(files[0]).header["descrip"].item()


def test_phantoms_that_are_there_are_kept(tmp_path):
    file = write_phantoms(tmp_path, cases=1, size=32)[0]
    before = file.stat().st_mtime_ns
    write_phantoms(tmp_path, cases=1, size=32)
    assert file.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another size than 48"):
        write_phantoms(tmp_path, cases=1, size=48)
    for options in ({"cases": 0}, {"cases": "abc"}, {"seed": -1}):
        with pytest.raises(InputError, match="must be integers"):
            write_phantoms(tmp_path, **options)

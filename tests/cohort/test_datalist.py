import numpy as np
import pytest
import torch

from cohort import WithOtherRadiographs, mean_volume, patient_keys
from conventions import InputError


class Cases:
    def __init__(self, patients):
        self.data = [{"patient": p, "value": i} for i, p in enumerate(patients)]

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return {**self.data[index], "image": torch.full((2, 3, 3), float(index))}


def test_the_other_radiographs_are_never_the_patients_own():
    cases = WithOtherRadiographs(Cases(["a", "a", "b", "c"]))
    assert len(cases) == 4
    for i in range(4):
        item = cases[i]
        other = int(item["other_image"][0, 0, 0])
        assert item["value"] == i
        assert cases.dataset.data[other]["patient"] != item["patient"]
    with pytest.raises(InputError, match="all 2 held-out cases are of one patient"):
        WithOtherRadiographs(Cases(["a", "a"]))


def test_patient_keys_name_nobody():
    train, validation = [{"patient": "a"}, {"patient": "a"}], [{"patient": "b"}]
    sha256 = ["ca978112ca1bbdca", "3e23e8160039594a"]  # of "a" and "b", as any other tool gives them
    assert patient_keys([train, validation]) == sorted(sha256)
    assert patient_keys([validation]) == [sha256[1]]


def test_mean_volume_is_numpys():
    rng = np.random.default_rng(0)
    volumes = rng.uniform(0, 1, (5, 1, 3, 4, 5)).astype(np.float32)
    mean = mean_volume([{"label": i} for i in range(5)], lambda item: {"label": torch.tensor(volumes[item["label"]])})
    np.testing.assert_allclose(mean, volumes.mean(0), rtol=1e-6)
    with pytest.raises(InputError, match="empty"):
        mean_volume([], lambda item: item)

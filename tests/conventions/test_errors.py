import subprocess
import sys

import pytest
from torch.utils.data import DataLoader, Dataset

from conventions import InputError, input_error_in

SENTENCE = "ct.nii.gz: holds NaN; export it again"


class Broken(Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        try:
            raise InputError(SENTENCE)
        except InputError as error:
            raise RuntimeError("applying transform <Read>") from error


def test_found_behind_a_wrapper():
    with pytest.raises(RuntimeError) as caught:
        Broken()[0]
    assert input_error_in(caught.value) == SENTENCE


def test_found_in_what_a_worker_hands_over():
    with pytest.raises(RuntimeError) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert input_error_in(caught.value) == SENTENCE


def test_other_errors_are_left_alone():
    assert input_error_in(RuntimeError("out of memory")) is None


@pytest.mark.parametrize(
    ("raised", "in_a_sentence"),
    [
        pytest.param("InputError('no such file')", True, id="input-error"),
        pytest.param("KeyError('x')", False, id="other-error"),
    ],
)
def test_a_program_ends_on_one_sentence(root, raised, in_a_sentence):
    code = f"from conventions import *; report_input_errors(); raise RuntimeError('wrapped') from {raised}"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert (done.stderr == "Error: no such file\n") is in_a_sentence
    assert ("Traceback" in done.stderr) is not in_a_sentence

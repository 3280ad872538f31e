import numpy as np
import pytest
from scipy.stats import bootstrap

from conventions import InputError
from metrics import bootstrap_interval, paired_difference


def test_the_interval_is_scipys():
    values = np.random.default_rng(1).normal(20, 2, 30)
    found = bootstrap_interval(values, [f"patient_{n}" for n in range(30)])
    theirs = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=2).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert found == bootstrap_interval(values, [f"patient_{n}" for n in range(30)])


def test_cases_of_one_patient_are_drawn_together():
    """Each patient's cases are copies: the interval is that of the patients, not the narrower one of the cases."""
    values = np.random.default_rng(1).normal(20, 2, 12)
    once = bootstrap_interval(values, [str(n) for n in range(12)])
    copies = bootstrap_interval(np.repeat(values, 5), [str(n) for n in np.repeat(range(12), 5)])
    assert (copies.cases, copies.patients) == (60, 12)
    assert copies.high - copies.low == pytest.approx(once.high - once.low, rel=0.05)


def test_differences_are_those_of_the_same_case():
    """Models that differ by 0.5 in every case differ by exactly that, however far apart the cases are."""
    first = np.random.default_rng(1).normal(20, 9, 10)
    found = paired_difference(first, first - 0.5, [str(n) for n in range(10)])
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(InputError, match="same cases"):
        paired_difference(first, first[1:], ["a"] * 10)


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1.0, 2.0, float("nan")]])
def test_one_patient_has_no_interval(values):
    with pytest.raises(InputError, match="two patients or more"):
        bootstrap_interval(values, ["a", "a", "a" if values[2] == 3 else "b"])

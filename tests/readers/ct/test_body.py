"""The patient in a CT without the table: a made patient whose parts are known, and real CTs."""

import numpy as np
import pytest

from readers import body_mask

SPACING = 2.5
SHAPE = (40, 150, 170)


def ellipse(centre, radii):
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1


@pytest.fixture(scope="module")
def made():
    """A thorax of 300 x 200 mm with lungs, both arms beside it, on a table it lies on; with a wire on the chest."""
    plane = np.full(SHAPE[1:], -1000.0)
    thorax = ellipse((70, 85), (40, 60))
    arms = ellipse((80, 12), (10, 8)) | ellipse((80, 158), (10, 8))
    lungs = ellipse((68, 60), (28, 20)) | ellipse((68, 110), (28, 20))
    curved = ellipse((60, 85), (54, 110)) & ~ellipse((59, 85), (52, 108))  # 3 to 5 mm thick, below the back
    curved[:106] = False
    pallet = np.zeros(SHAPE[1:], bool)
    pallet[118:126, 60:110] = True  # 20 mm thick
    wire = np.zeros(SHAPE[1:], bool)
    wire[24:29, 84:86] = True
    plane[curved | wire], plane[pallet] = 200.0, 100.0
    plane[thorax | arms] = 40.0
    plane[thorax & ~ellipse((70, 85), (37, 57))] = -100.0  # skin fat
    plane[lungs] = -850.0
    noise = np.random.default_rng(0).normal(0, 30, SHAPE)
    patient = np.broadcast_to(thorax | arms, SHAPE)
    return plane + noise, patient, np.broadcast_to(curved | pallet, SHAPE) & ~patient, np.broadcast_to(wire, SHAPE)


def test_table_and_wire_are_left_out_and_all_of_the_patient_stays(made):
    volume, patient, table, wire = made
    mask = body_mask(volume, SPACING)
    dice = 2 * (mask & patient).sum() / (mask.sum() + patient.sum())
    assert dice > 0.99
    assert (mask & patient).sum() > 0.998 * patient.sum()
    assert (mask & table).sum() < 0.05 * table.sum()
    assert not mask[:, :26][wire[:, :26]].any()


def test_what_the_field_of_view_cuts_stays(made):
    volume, patient, _, _ = made
    narrow = slice(30, 140)
    mask = body_mask(volume[:, :, narrow], SPACING)
    cut = patient[:, :, narrow]
    assert (mask & cut).sum() > 0.998 * cut.sum()


def test_spacing_alone_changes_little(made):
    volume, patient, table, _ = made
    fine = body_mask(volume.repeat(2, 0).repeat(2, 1).repeat(2, 2), SPACING / 2)[::2, ::2, ::2]
    assert 2 * (fine & patient).sum() / (fine.sum() + patient.sum()) > 0.99
    assert (fine & table).sum() < 0.05 * table.sum()


def test_air_alone_has_no_patient():
    assert not body_mask(np.full((10, 20, 20), -1000.0), SPACING).any()

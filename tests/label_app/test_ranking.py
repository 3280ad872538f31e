"""The score of a study, the ranking by it, and which model is served."""

import json

import pytest

from label_app import film_disagreement, rank, serve, served_model


def test_the_score_is_the_rms_share_of_the_line_integrals():
    assert film_disagreement({"before": [0.0, 0.0], "spread": [1.0, 2.0]}) == 0
    assert film_disagreement({"before": [3.0, 8.0], "spread": [1.0, 2.0]}) == pytest.approx((12.5) ** 0.5)
    assert film_disagreement({"before": [0.5], "spread": [1.0]}) == 0.5
    assert film_disagreement({"before": [1.0], "spread": [0.0]}) > 1e5  # a constant CT explains nothing


def test_the_worst_study_comes_first_and_one_without_score_not_at_all():
    infos = {"b": {"reprojection": {"error": 0.1}}, "a": {"reprojection": {"error": 0.7}}, "c": {"ts": 1},
             "d": {"reprojection": {"problem": "is blank"}}, "e": {"reprojection": {"error": 0.1}}}  # fmt: skip
    assert rank(infos) == [("a", 0.7), ("b", 0.1), ("e", 0.1)]
    assert rank({}) == []


def test_a_trained_model_is_served_from_one_moment_on(tmp_path):
    first, trained = tmp_path / "model.pt", tmp_path / "trained" / "20261201-000000" / "model.pt"
    first.touch()
    assert served_model(first) == first
    trained.parent.mkdir(parents=True)
    trained.touch()
    serve(first, trained)
    assert served_model(first) == trained
    assert first.is_file()
    trained.unlink()
    assert served_model(first) == first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"checkpoint": 3}', '{"checkpoint": ".."}'])
def test_a_damaged_pointer_leaves_the_first_model(tmp_path, content):
    (tmp_path / "served.json").write_text(content)
    assert served_model(tmp_path / "model.pt") == tmp_path / "model.pt"
    assert json.dumps(str(served_model(str(tmp_path / "model.pt"))))

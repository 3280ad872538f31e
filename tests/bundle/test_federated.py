"""MONAI's `MonaiAlgo` runs the jobs as a site of a federation, as docs/training.md has it."""

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, FlStatistics, ModelType, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from conventions import input_error_in
from networks import build_network


@pytest.fixture
def site(root, tiny_cohort, tiny_overrides, tmp_path):
    """A site that was initialised, with three training cases and two held out."""
    common = {"dataset_dir": str(tiny_cohort), "output_dir": str(tmp_path), "ckpt_dir": str(tmp_path), **tiny_overrides}
    algo = MonaiAlgo(
        bundle_root=str(root / "bundle"),
        config_train_filename=["configs/train.json", "configs/demo.json"],
        train_kwargs={**common, "max_epochs": 2, "train::ema::decay": 0.0, "discriminator_channels": 4},
        config_evaluate_filename=["configs/evaluate.json", "configs/demo.json"],
        eval_workflow_name="infer",
        eval_kwargs={**common, "model_record": None, "mean_volume": None},
        best_model_filepath=str(tmp_path / "model.pt"),
        final_model_filepath=str(tmp_path / "model_final.pt"),
    )
    algo.initialize(extra={ExtraItems.CLIENT_NAME: "site_1"})
    yield algo
    algo.finalize()


def test_a_site_without_a_cohort_does_not_set_out_on_phantoms(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = MonaiAlgo(bundle_root=str(root / "bundle"))
    with pytest.raises(RuntimeError) as caught:
        site.initialize(extra={ExtraItems.CLIENT_NAME: "site_1"})
    assert input_error_in(caught.value).startswith("no cohort was given: give --dataset_dir FOLDER")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_rounds_of_a_site(site, tiny_options, tmp_path):
    generator = build_network("x2ct_biplanar", **tiny_options)
    weights = {name: value.clone() for name, value in generator.state_dict().items()}
    for finished in range(2):
        site.train(ExchangeObject(weights=weights))
        answer = site.get_weights()
        assert answer.weight_type == WeightType.WEIGHT_DIFF
        assert answer.statistics[FlStatistics.NUM_EXECUTED_ITERATIONS] == 2  # three cases, two a step
        assert site.trainer.state.epoch == finished + 1
        assert any(difference.abs().max() > 1e-5 for difference in answer.weights.values())
        weights = {name: value + answer.weights[name] for name, value in weights.items()}
    generator.load_state_dict(weights)  # the generator and nothing else
    final = site.get_weights(extra={ExtraItems.MODEL_TYPE: ModelType.FINAL_MODEL}).weights
    torch.testing.assert_close(final, weights, rtol=0, atol=1e-6)
    assert site.get_weights(extra={ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL}).weights.keys() == weights.keys()
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 3
    assert len(list(tmp_path.glob("losses*.csv"))) == 1

    metrics = site.evaluate(ExchangeObject(weights=weights)).metrics
    assert {"psnr_db", "ssim", "mae_hu", "paper_psnr_avg", "psnr_db/shuffled_input"} <= metrics.keys()
    torch.testing.assert_close(site.evaluator.network.state_dict(), weights, rtol=0, atol=0)

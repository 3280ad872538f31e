"""`--tracking mlflow` leaves a store that mlflow reads."""

import mlflow
import pytest

from tests.bundle.conftest import command


@pytest.mark.slow
def test_losses_and_metrics_are_in_the_store(tiny_cohort, tmp_path, root):
    options = {"output_dir": tmp_path / "out", "ckpt_dir": tmp_path / "models", "bundle_root": root / "bundle"}
    done = command("training", "train", tmp_path, dataset_dir=tiny_cohort, max_epochs=2, tracking="mlflow", **options)
    assert done.returncode == 0, done.stderr[-2000:]
    store = next(tmp_path.rglob("mlruns.db"))
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{store}")
    runs = [run for experiment in client.search_experiments() for run in client.search_runs([experiment.experiment_id])]
    names = {name for run in runs for name in run.data.metrics}
    assert {"train_loss", "psnr_db"} <= names, names
    run = next(run for run in runs if "train_loss" in run.data.metrics)
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert len(losses) >= 2
    assert all(loss.value > 0 for loss in losses)

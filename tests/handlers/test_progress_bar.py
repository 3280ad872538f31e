"""The progress bar: what it shows, and that nothing that is printed later begins in the middle of its line."""

import pytest
from ignite.engine import Engine

from handlers import ProgressBar


def run(step, epochs=2):
    engine = Engine(step)
    ProgressBar("training", ("loss",)).attach(engine)
    engine.run(range(3), max_epochs=epochs)


def test_it_shows_steps_epoch_and_loss(capsys, monkeypatch):
    monkeypatch.setattr("handlers.progress_bar.SECONDS_BETWEEN_LINES", 0.0)
    run(lambda engine, batch: {"loss": 0.25 * engine.state.iteration})
    lines = capsys.readouterr().err.splitlines()
    last = [line for line in lines if line.startswith("training:")][-1]
    assert "100%" in last
    assert "6/6" in last
    assert "epoch=2" in last
    assert "loss=1.500" in last


@pytest.mark.parametrize("seconds", [pytest.param(0.0, id="redrawn"), pytest.param(1e9, id="not_redrawn")])
def test_an_error_passes_and_what_is_printed_next_begins_a_line(seconds, capsys, monkeypatch):
    monkeypatch.setattr("handlers.progress_bar.SECONDS_BETWEEN_LINES", seconds)

    def step(engine, batch):
        if engine.state.iteration == 5:
            raise ValueError("no more")
        return {"loss": 1.0}

    with pytest.raises(ValueError, match="no more"):
        run(step)
    assert capsys.readouterr().err.endswith("\n")


def test_a_terminal_is_left_on_a_new_line_too(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    def step(engine, batch):
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        run(step)
    assert capsys.readouterr().err.endswith("\n")

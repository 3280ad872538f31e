import os

import pytest

from benchmarks import training_step
from benchmarks.training_step import ALLOCATORS, ALONE, Row, measure, run, table, use_allocator
from benchmarks.training_worker import LOSSES, Case, First, Ours, Turn, read_config, their_options
from conventions import InputError

CASE = Case("cpu", 64)


def row(label, seconds, peak, losses=1.0, volumes=1, pieces=()):
    first = First(dict.fromkeys(LOSSES.values(), losses), before=2**20, volumes=volumes)
    return Row(label, first, [Turn(s, 0.75 * s, peak) for s in seconds], dict(pieces))


def cells(*rows):
    """Return the first cell of each line -> the others; the last table counts where there are several."""
    lines = [line.strip("|").split("|") for line in table("plain", CASE, rows) if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in others] for first, *others in lines}


def test_ratios_are_of_a_volume_and_formed_within_a_round():
    ours, theirs = row("ours", [1.0, 2.0], 2**21, pieces={"ray casting": 0.5}), row("authors", [3.0, 4.0], 2**22)
    assert "| ours | 1 | 1.5 | 1-2 | 2.50 [2.00-3.00] | 1 | 2 | 2.00 |" in table("plain", CASE, [ours, theirs])
    found = cells(ours, theirs, row("ours, low_memory_24gb", [8.0, 8.0], 2**22, volumes=4))
    assert found["ours, low_memory_24gb"] == ["4", "2", "2-2", "1.75", "1", "4", "1.00"]
    assert found["relative difference"] == ["0.0e+00"] * 4
    assert found["generator"] == ["1.12", "56.2 %", "2.62", ""]
    assert found["ray casting"][:3] == ["0.5", "25.0 %", ""]


@pytest.mark.parametrize("losses", [pytest.param(1.002, id="too far"), pytest.param(float("nan"), id="nan")])
def test_sides_that_compute_another_loss_are_not_compared(losses):
    lines = list(
        table("plain", CASE, [row("ours", [1.0], 1, losses), row("authors", [3.0], 1), row("other", [1.0], 1)])
    )
    assert "The losses differ by more than 1e-03: not comparable." in "\n".join(lines)
    assert not any("3.00" in line for line in lines)


def test_a_side_that_cannot_run_says_why():
    found = cells(row("ours", [1.0], 1), Row("authors", reason="no memory"), row("other", [1.0], 1))
    assert found["authors"][0] == "not run here: no memory"
    assert found["other"][3] == found["other"][6] == ""


def test_a_side_that_fails_leaves_the_other_running(monkeypatch):
    class Fake:
        def load(self, make):
            self.make = make

        def ask(self, method):
            if (self.make, method) == ("authors", "turn"):
                raise RuntimeError("no memory\nmore")
            return {"pieces": {}, "first": None, "turn": 1.5}[method]

        def stop(self):
            pass

    monkeypatch.setattr(training_step, "Side", Fake)
    ours, theirs = measure({"ours": ("ours",), "authors": ("authors",)}, rounds=2)
    assert ours.turns == [1.5, 1.5]
    assert theirs.reason == "no memory"


def test_each_allocator_starts_from_none(monkeypatch):
    monkeypatch.setattr(os, "environ", {"MALLOC_ARENA_MAX": "1", "PATH": "here"})
    use_allocator("tuned")
    assert os.environ == {"PATH": "here", **ALLOCATORS["tuned"]}
    use_allocator("plain")
    assert os.environ == {"PATH": "here"}


def test_options_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "3DGAN" / "lib" / "model" / "nets").mkdir(parents=True)
    (tmp_path / "3DGAN" / "lib" / "model" / "nets" / "factory.py").touch()
    with pytest.raises(InputError, match="unknown allocator 'jemalloc': choose from both, plain, tuned"):
        run(str(tmp_path), allocator="jemalloc")
    with pytest.raises(InputError, match="'memory_3gb' is unknown: choose from ema, "):
        run(str(tmp_path), alone="memory_3gb")


def test_the_authors_options_are_merged_as_they_do_it(tmp_path):
    folder = tmp_path / "3DGAN" / "experiment" / "multiview2500"
    folder.mkdir(parents=True)
    text = (
        "CT_MEAN_STD: [0., 1.]\nCTGAN:\n  idt_lambda: 10.\nTD_GAN:\n  idt_lambda: 1.\n  discriminator_feature: False\n"
    )
    (folder / "d2_multiview2500.yml").write_text(text)
    options = their_options(tmp_path, CASE, "somewhere")
    assert (options.idt_lambda, options.discriminator_feature, options.CT_MEAN_STD) == (10, False, [0, 1])
    assert options.encoder_input_shape == [64, 64]


@pytest.mark.parametrize("name", ALONE)
def test_each_row_is_an_overlay_that_is_there(name):
    parser = read_config(Case("cpu", 64, **ALONE[name]))
    assert parser["batch_size"] * parser["train::trainer::accumulation_steps"] in (1, 2, 4)
    assert (parser["train::trainer::ema"] is None) == (name != "ema")


@pytest.mark.slow
def test_our_step_gives_its_losses_time_and_memory():
    subject = Ours(Case("cpu", 64, "demo"))
    first, turn = subject.first(), subject.turn()
    assert first.losses.keys() == set(LOSSES.values())
    assert first.volumes == 2
    assert 0 < turn.generator_seconds < turn.seconds
    assert turn.peak > first.before > 0
    assert set(subject.pieces()) == {"reading and resampling", "ray casting", "windowing"}

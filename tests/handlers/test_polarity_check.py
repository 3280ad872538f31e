import torch
from ignite.engine import Engine

from conventions import InputError
from handlers import PolarityCheck
from tests.processes import in_processes


def stopped_in(check, polarities):
    """Feed polarities step by step, and return the step that ended the run."""
    engine = Engine(lambda _engine, polarity: {"polarity": torch.tensor(polarity)})
    check.attach(engine)
    try:
        engine.run(polarities)
    except InputError:
        return engine.state.iteration
    return None


def test_a_negative_mean_over_the_last_steps_ends_the_run():
    assert stopped_in(PolarityCheck(3), [0.5, 0.5, -0.4, -0.2, 0.5]) == 4
    assert stopped_in(PolarityCheck(3), [-0.9, 0.5, 0.5, 0.5]) is None
    assert stopped_in(PolarityCheck(0), [-1.0] * 5) is None


def test_a_resumed_run_knows_the_last_steps():
    first = PolarityCheck(3)
    stopped_in(first, [0.5, -0.4])
    resumed = PolarityCheck(3)
    resumed.load_state_dict(first.state_dict())
    assert stopped_in(resumed, [-0.2, 0.5]) == 1


def test_all_processes_stop_in_the_same_step():
    def train(rank):
        together_positive = [[0.5, -0.3, -0.7], [0.9, 0.7, 0.5]]  # means 0.7, 0.2, -0.1
        together_negative = [[0.5, -0.9, -0.9], [0.5, 0.1, 0.1]]  # means 0.5, -0.4, -0.4
        assert stopped_in(PolarityCheck(2), together_positive[rank]) is None
        assert stopped_in(PolarityCheck(2), together_negative[rank]) == 3

    in_processes(train)

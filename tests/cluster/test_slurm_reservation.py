"""What steps ask of a cluster: at least what the plan says, more in the next attempt, and never without end."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.cluster import slurm_reservation
from eps_resnet.experiments import registry
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.operations import plan
from eps_resnet.runs import cost
from tests.conftest import PROJECT

EXPERIMENTS = registry.load(PROJECT / "config/experiments.yaml")
KEYS = st.sampled_from(list(EXPERIMENTS.runs))
NOWHERE = Layout(Path("nowhere"))
STAGES = st.sampled_from(["train", "prune", "evaluate"])
ATTEMPTS = st.integers(1, 100)


def experiment(key: str) -> Experiment:
    return EXPERIMENTS.experiment(key, NOWHERE)


@given(KEYS, ATTEMPTS)
def test_a_training_gets_twice_the_hours_of_the_plan_at_least(key: str, attempt: int) -> None:
    (item,) = plan.plan([experiment(key)], {})
    hours = slurm_reservation.minutes(experiment(key), "train", attempt) / 60
    assert hours >= 2 * item.hours
    assert slurm_reservation.minutes(experiment(key), "train") / 60 <= 2 * item.hours + 1


@given(KEYS, STAGES, st.integers(0, 64))
def test_a_job_gets_what_it_holds_in_the_machines_memory(
    key: str, stage: slurm_reservation.Stage, workers: int
) -> None:
    asking = experiment(key)
    got = slurm_reservation.megabytes(asking, stage, workers=workers) * 1e6
    assert got >= cost.network_cost(asking).file_bytes
    if stage != "prune":
        assert got >= cost.stored_bytes(asking.data) + cost.checkpoint_bytes(asking)
    if stage != "prune" and asking.recipe.device == "cpu":
        assert got >= 2 * cost.memory_bytes(asking)


@given(KEYS, STAGES, ATTEMPTS)
def test_the_second_and_the_third_attempt_ask_for_twice_as_much_and_later_ones_for_no_more(
    key: str, stage: slurm_reservation.Stage, attempt: int
) -> None:
    for ask in (slurm_reservation.minutes, slurm_reservation.megabytes):
        first, this = ask(experiment(key), stage), ask(experiment(key), stage, attempt)
        assert this == first * min(2 ** (attempt - 1), 4)
        assert isinstance(this, int)


@given(KEYS, STAGES, st.integers(0, 99), st.floats(0.5, 9))
def test_seeds_and_epsilons_of_one_network_ask_for_the_same(
    key: str, stage: slurm_reservation.Stage, seed: int, epsilon: float
) -> None:
    run = EXPERIMENTS.run(key)
    other = run.model_copy(update={"seed": seed, "epsilon": run.epsilon and epsilon})
    for ask in (slurm_reservation.minutes, slurm_reservation.megabytes):
        assert ask(experiment(key), stage) == ask(EXPERIMENTS.experiment_of(other, NOWHERE), stage)


@given(KEYS, STAGES, st.integers(1, 8), st.integers(0, 64))
def test_more_processes_and_more_workers_never_ask_for_less_memory(
    key: str, stage: slurm_reservation.Stage, processes: int, workers: int
) -> None:
    def ask(processes: int, workers: int) -> int:
        return slurm_reservation.megabytes(experiment(key), stage, 1, processes, workers)

    assert ask(processes, workers) <= min(ask(processes + 1, workers), ask(processes, workers + 1))


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_a_deeper_network_asks_for_no_less(stage: slurm_reservation.Stage) -> None:
    runs = [EXPERIMENTS.run("cifar10-110-standard-s0").model_copy(update={"depth": 6 * n + 2}) for n in range(3, 130)]
    for ask in (slurm_reservation.minutes, slurm_reservation.megabytes):
        asked = [ask(EXPERIMENTS.experiment_of(run, NOWHERE), stage) for run in runs]
        assert asked == sorted(asked)


def test_it_is_computed_without_torch() -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from eps_resnet.experiments import registry; from eps_resnet.experiments.layout import Layout\n"
        "from eps_resnet.cluster import slurm_reservation\n"
        "known = registry.load(Path('config/experiments.yaml'))\n"
        "runs = [known.experiment(key, Layout()) for key in known.runs]\n"
        "[ask(run, 'train') for run in runs for ask in (slurm_reservation.minutes, slurm_reservation.megabytes)]\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

"""The rate controller on written-out traces, the decay's step, the epsilon schedule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.experiments.models import LateRate, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.schedule import RateSchedule, epsilon_of, weight_decay

GATED = Run(dataset="cifar10", depth=110, method="epsilon_side", epsilon=2.5)


def levels(schedule: RateSchedule, discarded: list[int]) -> list[int]:
    """The rate's level in each epoch of a trace of discarded counts, one per epoch."""
    seen = []
    for epoch, count in enumerate(discarded, start=1):
        seen.append(schedule.level(epoch))
        schedule.observe_epoch(epoch, count, [])
    return seen


def test_the_standard_rate_falls_after_82_and_123_completed_epochs(experiments: Registry) -> None:
    recipe = experiments.datasets["cifar10"].recipe
    schedule = RateSchedule.of(recipe, Run(dataset="cifar10", depth=110, method="standard"))
    assert levels(schedule, [0] * 200) == [0] * 82 + [1] * 41 + [2] * 77
    assert schedule.rate(83) == 0.1 / 10
    assert schedule.rate(200) == 0.1 / 100


def test_losing_a_block_restarts_the_rate_and_shortens_the_steps(experiments: Registry) -> None:
    recipe = experiments.datasets["cifar10"].recipe
    trace = [0] * 99 + [1] + [1] * 100  # one block lost at the end of epoch 100
    seen = levels(RateSchedule.of(recipe, GATED), trace)
    assert seen == [0] * 82 + [1] * 18 + [0] * 41 + [1] * 20 + [2] * 39


def test_a_block_that_comes_back_does_not_restart_but_its_second_loss_does(experiments: Registry) -> None:
    recipe = experiments.datasets["cifar10"].recipe
    trace = [0] * 9 + [2] * 50 + [1] * 5 + [2] * 60
    schedule = RateSchedule.of(recipe, GATED)
    seen = levels(schedule, trace)
    assert schedule.restarted_after == 65
    assert seen[:51] == [0] * 51  # restarted after epoch 10: epochs 11 to 51 at the full rate
    assert seen[51:65] == [1] * 14
    assert seen[65 : 65 + 41] == [0] * 41
    assert seen[65 + 41 :] == [1] * (124 - 106)


@given(st.lists(st.integers(0, 54), min_size=1, max_size=300))
def test_the_rate_depends_only_on_the_last_rise(experiments: Registry, trace: list[int]) -> None:
    recipe = experiments.datasets["cifar10"].recipe
    seen = levels(RateSchedule.of(recipe, GATED), trace)
    before = [0, *trace]
    for epoch in range(1, len(trace) + 1):
        rises = [e for e in range(1, epoch) if before[e] > before[e - 1]]
        completed, steps = (epoch - 1 - rises[-1], (41, 61)) if rises else (epoch - 1, (82, 123))
        assert seen[epoch - 1] == sum(completed >= step for step in steps)


def test_baselines_and_imagenet_never_restart(experiments: Registry) -> None:
    baseline = Run(dataset="cifar10", depth=110, method="standard_side")
    imagenet = Run(dataset="imagenet", depth=101, method="epsilon_side", epsilon=2.0)
    for run in (baseline, imagenet):
        schedule = RateSchedule.of(experiments.datasets[run.dataset].recipe, run)
        levels(schedule, list(range(50)))
        assert schedule.restarted_after is None


def test_the_reference_codes_rule_restarts_on_the_running_average(experiments: Registry) -> None:
    recipe = experiments.datasets["cifar10"].recipe.model_copy(update={"restart_on": "running_average"})
    schedule = RateSchedule.of(recipe, GATED)
    for epoch, closed in ((1, 0), (2, 1)):
        schedule.observe_epoch(epoch, 0, [closed] * 390)
    assert schedule.running_average == pytest.approx(1, abs=1e-8)
    assert schedule.restarted_after == 2


def restarts(experiments: Registry, trace: list[list[int]]) -> list[int]:
    """The epochs after which the running average restarts the rate; the trace has the closed gates of each step."""
    recipe = experiments.datasets["cifar10"].recipe.model_copy(update={"restart_on": "running_average"})
    schedule, found = RateSchedule.of(recipe, GATED), []
    for epoch, closed in enumerate(trace, start=1):
        before = schedule.restarted_after
        schedule.observe_epoch(epoch, 0, closed)
        found += [epoch] if schedule.restarted_after != before else []
    return found


@given(st.integers(1, 5000), st.integers(0, 50))
def test_by_the_running_average_a_clean_loss_restarts_the_rate_whatever_the_length_of_an_epoch(
    experiments: Registry, steps: int, closed: int
) -> None:
    open_until = steps * 6 // 10  # within the first 65 % of the epoch
    trace = (
        [[closed] * steps] * 3
        + [[closed] * open_until + [closed + 1] * (steps - open_until)]
        + [[closed + 1] * steps] * 3
    )
    assert restarts(experiments, trace) == ([1, 4] if closed else [4])


@pytest.mark.parametrize("steps", [78, 390])
def test_by_the_running_average_flicker_that_grows_over_two_epochs_restarts_nothing(
    experiments: Registry, steps: int
) -> None:
    half, all_of = [0, 1] * (steps // 2), [1] * steps
    assert restarts(experiments, [[0] * steps, half, all_of, all_of]) == []
    assert restarts(experiments, [[0] * steps, all_of]) == [2]  # at once, it does


@pytest.mark.parametrize("steps", [78, 390])
def test_by_the_running_average_a_spike_of_one_epoch_restarts_the_rate_and_its_end_does_not(
    experiments: Registry, steps: int
) -> None:
    assert restarts(experiments, [[5] * steps, [8] * steps, [5] * steps, [5] * steps]) == [1, 2]


def test_the_running_average_of_390_steps_forgets_as_the_reference_codes_does(experiments: Registry) -> None:
    recipe = experiments.datasets["cifar10"].recipe.model_copy(update={"restart_on": "running_average"})
    schedule, average = RateSchedule.of(recipe, GATED), 0.0
    closed = [step % 7 for step in range(390)]
    for count in closed:
        average = 0.95 * average + 0.05 * count
    schedule.observe_epoch(1, 0, closed)
    assert schedule.running_average == pytest.approx(average, rel=1e-12)


def test_the_first_epoch_has_a_rate_of_its_own_where_the_recipe_says_so(experiments: Registry) -> None:
    recipe = experiments.datasets["cifar10"].recipe.model_copy(update={"first_rate": 0.01})
    schedule = RateSchedule.of(recipe, Run(dataset="cifar10", depth=110, method="standard"))
    assert [schedule.rate(epoch) for epoch in (1, 2, 83)] == [0.01, 0.1, 0.01]


def test_the_reference_codes_late_rate_holds_from_its_epoch_before_and_after_a_restart(experiments: Registry) -> None:
    late = LateRate(rate=2e-4, epoch=300, adaptive_epoch=150)
    recipe = experiments.datasets["cifar10"].recipe.model_copy(update={"late_rate": late})
    schedule = RateSchedule.of(recipe, GATED)
    assert [schedule.rate(epoch) for epoch in (300, 301)] == [0.001, 2e-4]
    assert [schedule.level(epoch) for epoch in (300, 301)] == [2, 3]  # so a settled epoch lies at the late rate
    schedule.observe_epoch(310, 1, [])
    assert [schedule.rate(310 + epoch) for epoch in (1, 150, 151)] == [0.1, 0.001, 2e-4]


def test_the_decay_falls_to_a_fifth_every_480000_steps(experiments: Registry) -> None:
    recipe = experiments.datasets["svhn"].recipe
    assert weight_decay(recipe, 479_999) == 2e-4
    assert weight_decay(recipe, 480_000) == pytest.approx(4e-5)
    assert 480_000 // (604_388 // 128) + 1 == 102  # SVHN reaches it, in epoch 102


def test_epsilon_is_held_at_zero_until_its_start_epoch_has_passed(experiments: Registry) -> None:
    recipe = experiments.datasets["cifar10"].recipe
    assert epsilon_of(recipe, 2.5, 1) == 2.5
    held = recipe.model_copy(update={"epsilon_start_epoch": 150})
    assert [epsilon_of(held, 2.5, epoch) for epoch in (1, 150, 151)] == [0, 0, 2.5]

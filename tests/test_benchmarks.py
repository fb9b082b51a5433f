"""The benchmarks' own arithmetic, and that the page shows what was measured. What they measure is never tested."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import around, gates, inputs, peers, pruned, scaling, start, steps, table
from benchmarks.measure import Line, in_turns
from benchmarks.operations import CLOSED, LIMITS, step_of_a_card
from benchmarks.steps import bare_convolutions
from benchmarks.trainings import training_of


def test_the_page_on_speed_shows_the_recorded_figures() -> None:
    text = table.PAGE.read_text()
    assert table.page(text, json.loads(table.RESULTS.read_text())) == text


def test_what_is_recorded_says_rightly_whether_its_goal_is_met() -> None:
    for entry in json.loads(table.RESULTS.read_text())["lines"]:
        values = {name: value for name, value in entry.items() if name not in ("goal", "met")}
        line = Line(**values)
        assert (line.goal, line.met) == (entry["goal"], entry["met"])


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_goal_is_met_at_its_limit_and_on_the_right_side_of_it(figure: float, limit: float) -> None:
    assert Line("", "", figure, figure, figure, 1, at_most=limit).met == (figure <= limit)
    assert Line("", "", figure, figure, figure, 1, at_least=limit).met == (figure >= limit)
    assert Line("", "", figure, figure, figure, 1).met is None
    assert Line("", "", None, None, None, 1, at_most=limit).met is None


def test_two_things_are_called_equally_often_and_take_turns_in_beginning() -> None:
    calls: list[str] = []
    in_turns(lambda: calls.append("a"), lambda: calls.append("b"), pairs=4)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab" + "ba"


def test_the_bare_convolutions_are_those_of_the_network() -> None:
    architecture = training_of(20).network.architecture
    calls = bare_convolutions(architecture)()
    assert isinstance(calls, list)
    assert len(calls) == 1 + 2 * 9  # the stem, and two of each block


@pytest.mark.parametrize("which", [0, 1])
def test_a_step_of_752_layers_asks_a_card_for_no_more_than_its_limit_as_growth_by_depth_tells(which: int) -> None:
    """Shallow networks are counted; the slow test below counts the deep ones."""
    fewer, more = (step_of_a_card(6 * 5 * rounds + 2, CLOSED * which).counts.total() for rounds in (1, 2))
    assert fewer + (more - fewer) * (752 - 32) // 30 <= LIMITS[752][which]


@pytest.mark.slow
@pytest.mark.parametrize("depth", LIMITS)
def test_a_step_asks_a_card_for_as_many_operations_as_its_limit_says(depth: int) -> None:
    assert tuple(step_of_a_card(depth, closed).counts.total() for closed in (0.0, CLOSED)) == LIMITS[depth]


def test_folding_batch_norm_leaves_the_logits_and_one_norm_for_each_sum() -> None:
    network = pruned.network(pruned.ALL[:: pruned.STEP])
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        norm.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    images = pruned.inputs(2)
    with torch.inference_mode():
        before = network(images)[0]
        after = pruned.folded(network)(images)[0]
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == len(network.blocks)  # where each but the first begins, and the head's
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_time_to_error_trains_five_seeds_of_both_and_says_which_never_had_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "SECONDS", 0.0)  # each is stopped after its first epoch
    line = peers._time_to_error()
    assert line.note.count("epoch 1; 5 never had it") == 2
    assert line.note.endswith("5 trainings of each, which differ in their seed, each with its start")
    assert line.low is not None
    assert line.low < line.high  # type: ignore[operator]


def test_every_time_is_taken_in_at_least_seven_pairs() -> None:
    numbers = [around.PAIRS, gates.PAIRS, start.PAIRS, scaling.ROUNDS, peers.PAIRS, peers.IMAGENET_PAIRS]
    numbers += [inputs.EPOCH_PAIRS, inputs.STEP_PAIRS, inputs.JPEG_PAIRS, pruned.FIXED_PAIRS, *steps.PAIRS.values()]
    numbers += [*gates.GATED_DEPTHS.values(), *(pairs for pairs, _ in pruned.BATCHES.values())]
    assert min(numbers) >= 7

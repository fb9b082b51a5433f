"""The benchmarks' own arithmetic, and that the page shows what was measured. What they measure is never tested."""

import json
from collections.abc import Iterator

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmarks import recalibration, table
from benchmarks.measure import Line, in_turns
from benchmarks.steps import bare_convolutions
from benchmarks.trainings import training_of
from eps_resnet.method.streams import stream


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


def test_new_statistics_are_the_plain_means_over_an_epochs_batches_and_no_weight_changes() -> None:
    batches = [torch.randn(4, 3, 8, 8, generator=stream(0, "batches", epoch)) for epoch in range(3)]

    class Drawn:
        def training(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            return ((batch, torch.zeros(4)) for batch in batches)

    norm = torch.nn.BatchNorm2d(3)
    network = torch.nn.Sequential(norm)
    before = [parameter.clone() for parameter in network.parameters()]
    norm.running_mean.fill_(9.0)
    recalibration.recalibrate(network, Drawn())
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(norm.running_mean, means, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))

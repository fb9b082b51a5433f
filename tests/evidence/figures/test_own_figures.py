"""Figures that the paper has not: gate life, and error against cost."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.evidence.figures import drawing, life, tradeoff
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.method.history import read_blocks, read_history
from tests.evidence.figures.conftest import CLOSED, OPEN, OPEN_TOO


@given(st.integers(1, 400).flatmap(lambda window: st.tuples(st.integers(0, window), st.just(window))))
def test_a_letter_tells_gates_that_never_and_always_closed_from_all_others(counts: tuple[int, int]) -> None:
    closed, window = counts
    found = life.letter(closed / window)
    assert (found == ".") == (closed == 0)
    assert (found == "#") == (closed == window)
    assert abs(life.share_of(found) - closed / window) <= 0.1


def test_responses_are_the_smallest_of_the_kept_blocks() -> None:
    blocks = pd.DataFrame(
        {
            "block": [0, 0, 1, 1, 2, 2],
            "epoch": [1, 2, 1, 2, 1, 2],
            "closed": [0, 0, 1, 4, 0, 2],
            "response": np.array([9.0, np.nan, 0.5, 0.1, 4.0, 3.0], dtype=np.float16),
            "window": 4,
        }
    )
    found = life.gates_and_responses(blocks, discarded=[1])
    assert found["gates"].tolist() == [".2.", ".#5"]
    assert found["least_response"].tolist() == [4, 3]


def test_gate_life_is_that_of_the_first_finished_run_of_a_depth(trained: tuple[Registry, Layout]) -> None:
    experiments, layout = trained
    rows = life.table(experiments, layout, "life-digits")
    drawn = rows[rows["gates"].notna()]
    first = next(key for key in experiments.runs_of("life-digits") if key in (OPEN, OPEN_TOO, CLOSED))
    assert set(drawn["run"]) == {first}
    assert drawn["epoch"].tolist() == read_history(layout.run(first).history)["epoch"].tolist()
    assert set(drawn["reported"]) == {read_json(layout.run(first).metrics)["epoch"]}
    blocks = read_blocks(layout.run(first).blocks)
    closed = blocks.pivot(index="epoch", columns="block", values="closed").to_numpy() / blocks["window"].iloc[0]
    assert [[letter == "#" for letter in gates] for gates in drawn["gates"]] == (closed == 1).tolist()
    gates, _ = life.draw(rows).axes
    assert gates.get_ylim()[0] > gates.get_ylim()[1]  # the input is at the top


def test_a_restart_is_where_the_rate_rises(trained: tuple[Registry, Layout], monkeypatch: pytest.MonkeyPatch) -> None:
    experiments, layout = trained
    history = read_history(layout.run(OPEN).history)
    monkeypatch.setattr(life, "read_history", lambda _: history.assign(rate=[0.01, 0.1]))
    rows = life.table(experiments, layout, "life-digits")
    assert rows.loc[rows["gates"].notna(), "restart"].tolist() == [False, True]


def test_standard_networks_that_are_trained_for_another_time_are_left_out_of_the_trade_off(
    experiments: Registry, tmp_path: object
) -> None:
    rows = tradeoff.table(experiments, Layout(tmp_path), "tradeoff-cifar10-cpu")  # type: ignore[arg-type]
    kept = tradeoff.trained_as_long(rows)
    assert set(kept["epochs"]) == {150}
    assert set(kept.loc[kept["method"] == "standard", "variant"]) == {"as many steps"}
    assert {8, 14, 20, 26, 32, 44, 56, 110} == set(kept.loc[kept["method"] == "standard", "depth"])
    assert set(rows["epochs"]) == {30, 150}


def test_the_trade_off_draws_a_pruned_network_at_its_mean_cost(trained: tuple[Registry, Layout]) -> None:
    experiments, layout = trained
    rows = tradeoff.table(experiments, layout, "tradeoff-digits")
    for axes, cost in zip(tradeoff.draw(rows).axes, tradeoff.COSTS, strict=True):
        assert axes.get_xscale() == "log"
        (line,) = [line for line in axes.lines if line.get_label() == "ε-ResNet + side head"]
        own = rows[(rows["method"] == "epsilon_side") & (rows["state"] == "done")]
        expected = own.groupby(["depth", "epsilon"])[[cost, "error_pruned"]].mean()
        assert np.asarray(line.get_xdata()).tolist() == pytest.approx(expected[cost].tolist())
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx((100 * expected["error_pruned"]).tolist())


def test_no_depth_is_written_over_another_in_the_committed_trade_off() -> None:
    canvas = tradeoff.draw(drawing.read_table(Path("paper_tables/tradeoff-cifar10-cpu")))
    canvas.draw_without_rendering()
    for axes in canvas.axes:
        boxes = [words.get_window_extent() for words in axes.texts]
        assert len(boxes) > 1
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]

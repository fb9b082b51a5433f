"""Where each figure's numbers come from: runs' files and the published data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import figure1, figure3, figure5, figure6, figure7, figure9, figure10
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.errors import UserError
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.provenance import state
from tests.evidence.figures.conftest import CLOSED, OPEN, OPEN_TOO


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=3, max_size=4))
def test_figure_1_puts_a_dot_where_a_block_was_discarded_and_a_letter_elsewhere(gone: list[list[bool]]) -> None:
    flat = [block for stage in gone for block in stage]
    found = figure1.patterns([len(stage) for stage in gone], np.flatnonzero(flat).tolist())
    assert found == ["".join(".K"[not block] for block in stage) for stage in gone]


def test_figure_1_shows_the_blocks_of_a_run(trained: tuple[Registry, Layout]) -> None:
    rows = figure1.table(*trained, "figure1-digits")
    for key in (OPEN, CLOSED):
        ours, metrics = rows[rows["run"] == key], read_json(trained[1].run(key).metrics)
        assert ours["kept"].tolist() == metrics["kept"]
        found = [index for index, letter in enumerate("".join(ours["pattern"])) if letter == "."]
        assert found == metrics["discarded_blocks"]
    assert read_json(trained[1].run(CLOSED).metrics)["discarded_blocks"] == [0, 1, 2]


def test_the_published_pattern_has_the_papers_360_visible_blocks_and_their_published_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern, numbers = published.pattern(), published.numbers()
    assert len(pattern) == 375
    assert (pattern["kept"] != "hidden").sum() == 360
    for stage, blocks in pattern.groupby("stage"):
        assert len(blocks) == 125
        visible = blocks[blocks["kept"] != "hidden"]
        (number,) = published.matching(numbers, figure="1", metric="kept_fraction", group=stage)
        assert (visible["kept"] == "kept").mean() == pytest.approx(number.value, abs=1e-3)
        placed = blocks["block"].dropna()
        assert placed.is_unique
        assert (placed + blocks["shift"].dropna()).max() == 124
    monkeypatch.setattr(published, "published_pattern_csv", lambda: tmp_path / "figure1.csv")
    with pytest.raises(UserError, match="published pattern of blocks is not at"):
        published.pattern()


def test_figure_1_says_how_many_published_blocks_have_no_known_place(experiments: Registry, tmp_path: Path) -> None:
    rows = figure1.table(experiments, Layout(tmp_path), "figure1-cifar100")
    assert rows["published_unplaced"].tolist() == [6, 0, 0]
    assert (rows["published_pattern"].str.len() + rows["published_unplaced"]).tolist() == [125] * 3
    assert rows["published_pattern"].str.count("K").tolist() == [52, 33, 26]


def test_figure_3_has_the_plotted_numbers_not_those_of_the_text(experiments: Registry, tmp_path: Path) -> None:
    rows = figure3.table(experiments, Layout(tmp_path), "figure3-cifar10").set_index("depth")
    assert len(rows) == 10
    assert rows.loc[254, "published_error"] == 0.0601
    assert rows.loc[200, "published_error"] == 0.0567


@st.composite
def trainings(draw: st.DrawFn) -> list[list[int]]:
    """Closed batches, of three, per epoch and block; each block's gate stays closed from some epoch on, or never."""
    epochs, blocks = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    since = [draw(st.integers(1, epochs + 1)) for _ in range(blocks)]
    anything, opened = st.integers(0, 3), st.integers(0, 2)
    return [
        [3 if epoch >= first else draw(opened if epoch == first - 1 else anything) for first in since]
        for epoch in range(1, epochs + 1)
    ]


def _blocks(closed: list[list[int]]) -> pd.DataFrame:
    """As history.read_blocks: of windows of three batches."""
    rows = [(b, e, count, 3) for e, counts in enumerate(closed, start=1) for b, count in enumerate(counts)]
    return pd.DataFrame(rows, columns=["block", "epoch", "closed", "window"]).astype("uint16")


@given(trainings(), st.sets(st.integers(0, 5)))
def test_figure_5_takes_the_block_discarded_for_good_nearest_to_the_middle(
    closed: list[list[int]], pruned: set[int]
) -> None:
    pruned &= set(range(len(closed[0])))
    candidates = []
    for block in pruned:
        since = next((e for e in range(1, len(closed) + 1) if all(row[block] == 3 for row in closed[e - 1 :])), None)
        if since is not None:
            candidates.append((abs(since - len(closed) / 2), -block, since))
    expected = None
    if candidates:
        _, minus_block, since = min(candidates)
        expected = (-minus_block, since)
    assert figure5.chosen_block(_blocks(closed), sorted(pruned)) == expected


def test_figure_5_shows_the_weights_of_that_block_and_of_no_other(trained: tuple[Registry, Layout]) -> None:
    experiments, layout = trained
    rows = figure5.table(experiments, layout, "figure5-digits")
    assert rows.loc[rows["run"] == OPEN, "block"].isna().all()
    ours = rows[rows["run"] == CLOSED]
    expected = read_blocks(layout.run(CLOSED).blocks).query("block == 2")  # all closed at once: nearest to the output
    assert ours[figure5.WEIGHTS].astype(float).to_numpy().tolist() == expected[figure5.WEIGHTS].to_numpy().tolist()
    assert ours["stage"].tolist() == [3, 3]
    assert ours["discarded_from"].tolist() == [1, 1]


def test_figure_5_says_where_no_block_was_discarded_for_good(trained: tuple[Registry, Layout]) -> None:
    rows = figure5.table(*trained, "figure5-digits")
    drawing = figure5.draw(rows[rows["run"] == OPEN])
    assert [text.get_text() for text in drawing.axes[0].texts] == ["no block was discarded for good"]


def test_figure_6_compares_the_gated_network_with_the_better_baseline() -> None:
    rows = pd.DataFrame(
        {
            "depth": [20, 20, 20, 20, 56, 20],
            "method": ["standard", "standard", "standard_side", "epsilon_side", "epsilon_side", "standard"],
            "epsilon": [None, None, None, 2.5, 2.5, None],
            "weight_decay": 0.1,
            "variant": [None, None, None, None, None, "as many steps"],
            "error_pruned": [0.03, 0.01, 0.025, 0.01, 0.01, 0.005],
        }
    )
    best = figure6._best_baseline_error(rows, None)
    assert best[3] == pytest.approx(0.02)  # the lower mean over seeds, not the luckiest seed
    assert best.isna().tolist() == [True, True, True, False, True, True]
    assert figure6._best_baseline_error(rows, "as many steps")[3] == 0.005  # one way to train stands beside the other


def test_figure_6_has_the_published_numbers_of_each_run(experiments: Registry, tmp_path: Path) -> None:
    rows = figure6.table(experiments, Layout(tmp_path), "figure6-cifar10").set_index("run")
    assert rows.loc["cifar10-752-epsilon_side-2p5-s0", "published_ratio"] == pytest.approx(0.8296, abs=1e-4)
    assert rows.loc["cifar10-110-standard-s0", "published_error"] == pytest.approx(0.0605, abs=1e-5)
    rows = figure6.table(experiments, Layout(tmp_path), "figure6-imagenet").set_index("run")
    assert rows.loc["imagenet-101-epsilon_side-2p1-s0", "published_error"] == pytest.approx(0.2272, abs=1e-3)
    assert rows.loc["imagenet-101-epsilon_side-2p0-s0", "published_error_top5"] == pytest.approx(0.0676, abs=1e-4)
    assert rows.loc["imagenet-152-standard-s0", "published_error_top5"] == pytest.approx(0.0615, abs=1e-4)


def test_figure_6_of_a_smaller_version_has_the_papers_numbers_beside_the_recipes_decay_alone(
    experiments: Registry, tmp_path: Path
) -> None:
    rows = figure6.table(experiments, Layout(tmp_path), "figure6-cifar10-cpu").set_index("run")
    assert rows.loc["cifar10-cpu-110-epsilon_side-2p5-s0", "published_error"] == pytest.approx(0.0524, abs=1e-4)
    assert pd.isna(rows.loc["cifar10-cpu-110-standard-wd0p001-s0", "published_error"])


def test_figure_6_draws_top_1_top_5_and_shares_on_imagenet(experiments: Registry, tmp_path: Path) -> None:
    drawing = figure6.draw(figure6.table(experiments, Layout(tmp_path), "figure6-imagenet"))
    titles = [axes.get_ylabel() for axes in drawing.axes]
    assert [title.split(" ")[0] for title in titles] == ["top-1", "top-5", "blocks"]
    (paper,) = [line for line in drawing.axes[1].lines if line.get_label() == "paper: ε-ResNet + side head"]
    assert paper.get_ydata() == pytest.approx([6.761, 6.531, 6.367])
    assert np.diff(paper.get_xdata()).min() > 0  # two epsilons of 101 layers stand beside each other
    assert paper.get_linestyle() == "None"  # points of different epsilons are no curve


def test_figure_6_draws_the_mean_of_the_seeds_in_per_cent(trained: tuple[Registry, Layout]) -> None:
    experiments, layout = trained
    drawing = figure6.draw(figure6.table(experiments, layout, "figure6-digits"))
    (ours,) = [line for line in drawing.axes[0].lines if line.get_label() == "ε-ResNet + side head"]
    error = {key: read_json(layout.run(key).metrics)["error"]["pruned"] for key in (OPEN, OPEN_TOO, CLOSED)}
    assert list(ours.get_ydata()) == pytest.approx([50 * (error[OPEN] + error[OPEN_TOO]), 100 * error[CLOSED]])


def test_figure_7_leaves_out_the_papers_svhn_bars_and_keeps_the_others(experiments: Registry, tmp_path: Path) -> None:
    assert figure7.table(experiments, Layout(tmp_path), "figure7-svhn")["published_mib"].isna().all()
    rows = figure7.table(experiments, Layout(tmp_path), "figure7-imagenet").set_index("run")
    assert rows.loc["imagenet-101-standard-s0", "published_mib"] == pytest.approx(173.74)
    assert rows.loc["imagenet-101-epsilon_side-2p1-s0", "published_mib"] == pytest.approx(129.39)


def test_figure_9_is_the_discarded_blocks_of_the_history(trained: tuple[Registry, Layout]) -> None:
    experiments, layout = trained
    rows = figure9.table(experiments, layout, "figure9-digits")
    for key, ratio in ((OPEN, 0.0), (CLOSED, 1.0)):
        ours, history = rows[rows["run"] == key], read_history(layout.run(key).history)
        assert ours["epoch"].tolist() == history["epoch"].tolist()
        assert ours["discarded_ratio"].tolist() == (history["discarded"] / 3).tolist() == [ratio, ratio]


def test_figure_9_has_the_published_curve_beside_our_epochs(
    experiments: Registry, trained: tuple[Registry, Layout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digits run stands in for CIFAR-10's: what is tested is which numbers stand beside which epoch."""
    key, layout = "cifar10-752-epsilon_side-2p5-s0", Layout(tmp_path)
    paper = figure9.table(experiments, layout, "figure9-cifar10")
    assert len(paper) == 47
    layout.results.mkdir()
    layout.run(key).folder.symlink_to(trained[1].run(CLOSED).folder)
    monkeypatch.setattr(state, "state", lambda *_: "done")
    rows = figure9.table(experiments, layout, "figure9-cifar10").set_index("epoch")
    assert rows.index.tolist() == sorted({1, 2} | set(paper["epoch"]))
    assert rows.loc[2, "discarded_ratio"] == 1
    assert np.isnan(rows.loc[2, "published_ratio"])
    assert rows.loc[1000, "published_ratio"] == pytest.approx(0.8296)
    assert np.isnan(rows.loc[1000, "discarded_ratio"])


def test_figure_10_is_the_kept_blocks_of_each_stage_beside_the_published_ones(
    experiments: Registry, trained: tuple[Registry, Layout], tmp_path: Path
) -> None:
    rows = figure10.table(*trained, "figure10-digits")
    assert rows[rows["run"] == OPEN]["kept"].tolist() == read_json(trained[1].run(OPEN).metrics)["kept"] == [1, 1, 1]
    assert rows[rows["run"] == CLOSED]["kept_fraction"].tolist() == [0, 0, 0]
    rows = figure10.table(experiments, Layout(tmp_path), "figure10-cifar100")
    assert rows[rows["depth"] == 752]["published_kept_fraction"].tolist() == [0.4415, 0.2714, 0.2234]
    assert len(rows) == 12

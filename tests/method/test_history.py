"""What is recorded of an epoch, and its files."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.method.history import (
    MOST_ROWS,
    Epoch,
    Gates,
    read_blocks,
    read_history,
    recorded_epochs,
    write_blocks,
    write_history,
)


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=20), st.integers(1, 25))
def test_a_block_is_discarded_when_closed_in_every_batch_of_the_window(closed: list[list[bool]], window: int) -> None:
    gates = Gates.of(torch.tensor(closed), torch.ones(len(closed), 3), window)
    last = closed[-window:]
    assert gates.discarded == [all(step[block] for step in last) for block in range(3)]
    assert gates.flickered == sum(0 < sum(step[block] for step in last) < len(last) for block in range(3))
    assert gates.closed_mean == pytest.approx(np.mean([sum(step) for step in closed]))


def test_the_least_response_is_the_windows_smallest_and_unknown_where_the_block_was_left_out() -> None:
    responses = torch.tensor([[0.1, 2.0, torch.nan], [1.5, 1.2, torch.nan], [1.1, 1.3, torch.nan]])
    gates = Gates.of(responses <= 1, responses, window=2)
    assert gates.least_responses[:2] == pytest.approx((1.1, 1.2))
    assert np.isnan(gates.least_responses[2])


def test_block_histories_of_the_deepest_run_stay_small_and_come_back(tmp_path: Path) -> None:
    epochs, blocks = 1000, 375
    draw = np.random.default_rng(0)
    collapse = np.exp(-np.arange(epochs) / 50.0)[:, None, None]  # noise on a decay: hard to compress
    noise = 1 + 0.05 * draw.standard_normal((epochs, blocks, 5))
    percentiles = (np.array([-0.3, -0.05, 0, 0.05, 0.3]) * collapse * noise).astype(np.float16)
    closed = draw.integers(0, 239, (epochs, blocks))
    responses = np.abs(collapse[:, :, 0] * noise[:, :, 0])
    write_blocks(tmp_path / "blocks.parquet", closed, responses, 238, percentiles)
    assert (tmp_path / "blocks.parquet").stat().st_size < 380_000
    table = read_blocks(tmp_path / "blocks.parquet")
    assert len(table) == 101 * blocks
    row = table[(table["block"] == 200) & (table["epoch"] == 700)].iloc[0]
    assert (row["closed"], row["window"]) == (int(closed[699, 200]), 238)
    assert row["p25"] == float(percentiles[699, 200, 1])
    assert row["response"] == float(np.float16(responses[699, 200]))


@given(st.integers(1, 2000), st.integers(1, 375))
def test_epochs_are_recorded_evenly_with_the_first_and_the_last_and_all_where_they_are_few(
    epochs: int, blocks: int
) -> None:
    recorded = recorded_epochs(epochs, blocks)
    assert (recorded[0], recorded[-1]) == (1, epochs)
    assert len(recorded) * blocks <= MOST_ROWS + 2 * blocks
    assert epochs * blocks > MOST_ROWS or recorded == list(range(1, epochs + 1))
    assert len({later - earlier for earlier, later in pairwise(recorded[1:-1])}) <= 1


@given(st.floats(0, 1e3), st.floats(0, 1))
def test_histories_keep_every_number_exactly(
    tmp_path_factory: pytest.TempPathFactory, loss: float, error: float
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    write_history(path, [Epoch(1, 0.1, 2.5, loss, error, error, 3, 1, 2.5)])
    read = read_history(path).iloc[0]
    assert (read["loss"], read["test_error"], read["discarded"]) == (loss, error, 3)

"""Data-parallel training: two real processes (gloo) against one that splits the batch into the same slices."""

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet import registry, tensors
from eps_resnet.data.fetch import fetch
from eps_resnet.gate import gated_sum, is_closed
from eps_resnet.history import read_blocks, read_history
from eps_resnet.layout import Layout
from eps_resnet.parallel import Share
from tests.conftest import BIN, PROJECT, run, small_registry

GATED = "digits-8-epsilon_side-5p5-s0"
# A low rate: rounding, which differs between one process and two, then grows little from step to step.
RECIPE: dict[str, object] = {"slices": 4, "batch": 64, "weight_decay": 0.02, "rate": 0.01}


def prepare(folder: Path, **recipe: object) -> Layout:
    """A folder with the digits and one run, whose epsilon lies among the largest responses of its slices."""
    path = small_registry(folder / "experiments.yaml", {**RECIPE, **recipe})
    document = yaml.safe_load(path.read_text())
    gated = {**document["runs"]["digits-8-epsilon_side-2p5-s0"], "epsilon": 5.5}
    path.write_text(yaml.safe_dump({**document, "runs": {GATED: gated}, "figures": {}}))
    fetch(registry.load(path), Layout(folder), "digits")
    return Layout(folder)


def options(folder: Path) -> list[str]:
    return ["--registry", str(folder / "experiments.yaml"), "--root", str(folder)]


def torchrun(folder: Path, processes: int, expect: int = 0) -> str:
    """Trains the gated run by so many processes and returns what they printed."""
    launch = [str(BIN / "torchrun"), "--nproc-per-node", str(processes), "--rdzv-backend", "c10d"]
    process = subprocess.run(
        [*launch, "--rdzv-endpoint", "localhost:0", "-m", "eps_resnet", "train", GATED, *options(folder)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    output = process.stdout + process.stderr
    assert (process.returncode == 0) == (expect == 0), output
    return output


@pytest.mark.parametrize("scope", ["slice", "batch"])
def test_two_processes_train_what_one_process_trains_in_the_same_slices(tmp_path: Path, scope: str) -> None:
    one, two = (prepare(tmp_path / name, gate_scope=scope) for name in ("one", "two"))
    run(PROJECT, "eps-resnet", "train", GATED, *options(one.root))
    torchrun(two.root, 2)

    closed = [read_blocks(layout.blocks(GATED)) for layout in (one, two)]
    pd.testing.assert_series_equal(closed[0]["closed"], closed[1]["closed"])
    assert 0 < closed[0]["closed"].sum() < closed[0]["window"].sum()  # gates of both kinds were met
    histories = [read_history(layout.history(GATED)) for layout in (one, two)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)
    weights = [tensors.read(layout.model(GATED), "")[0] for layout in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-4)


def test_processes_that_cannot_share_the_slices_evenly_are_refused(tmp_path: Path) -> None:
    prepare(tmp_path, slices=1)
    output = torchrun(tmp_path, 2, expect=1)
    assert "2 processes cannot share the 1 slices of a mini-batch evenly" in output


@given(st.integers(1, 8), st.integers(1, 16))
def test_the_shares_of_all_processes_are_the_whole_batch_in_order(processes: int, part: int) -> None:
    rows = list(range(processes * part))
    assert [row for index in range(processes) for row in rows[Share(index, processes).rows(len(rows))]] == rows


@given(st.lists(st.floats(0, 5), min_size=4, max_size=4), st.floats(0.5, 4))
def test_each_slice_decides_by_its_own_largest_response(largest: list[float], epsilon: float) -> None:
    residual = torch.stack([torch.full((1, 2, 2), value) for value in largest]).requires_grad_()
    shortcut = torch.ones(4, 1, 2, 2)
    result, all_closed = gated_sum(shortcut, residual, epsilon, slices=2)
    for part in (slice(0, 2), slice(2, 4)):
        closed = is_closed(residual[part], epsilon)
        assert torch.equal(result[part], shortcut[part] if closed else shortcut[part] + residual[part])
    assert all_closed == is_closed(residual, epsilon)
    if not all_closed:
        result.sum().backward()
        gradient = [0.0 if is_closed(residual[part], epsilon) else 1.0 for part in (slice(0, 2), slice(2, 4))]
        assert residual.grad is not None
        assert residual.grad.mean((1, 2, 3)).tolist() == [gradient[0]] * 2 + [gradient[1]] * 2

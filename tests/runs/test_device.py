"""Where trainings run. There is no GPU here: its presence is made up, the locks and refusals are real."""

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.runs import device


def test_a_recipe_for_the_cpu_stays_there_on_a_gpu_machine(
    experiments: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    assert device.choose(experiments.experiment("digits-20-standard-s0", Layout())) == torch.device("cpu")


def test_the_override_lets_a_paper_run_train_on_the_cpu(experiments: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    paper = experiments.experiment("cifar10-110-standard-s0", Layout())
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    with pytest.raises(UserError, match="No GPU here"):
        device.choose(paper)
    monkeypatch.setenv("EPS_RESNET_ALLOW_CPU", "1")
    assert device.choose(paper) == torch.device("cpu")


def test_each_process_claims_a_card_of_its_own_and_gives_it_back_when_it_ends() -> None:
    cards_here = ["test-of-claims-a", "test-of-claims-b"]
    program = f"from eps_resnet.runs.device import claim_card; print(claim_card({cards_here}), flush=True); input()"

    def claimant() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True)

    first, second = claimant(), claimant()
    cards = [int(process.stdout.readline()) for process in (first, second) if process.stdout]
    assert sorted(cards) == [0, 1]
    with pytest.raises(UserError, match="All 2 GPUs are claimed"):
        device.claim_card(cards_here)
    first.communicate("\n")
    third = claimant()
    assert third.stdout
    assert int(third.stdout.readline()) == cards[0]
    for process in (second, third):
        process.communicate("\n")


def test_a_lock_file_of_another_user_can_be_claimed_and_is_respected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Root may write any file, so that another user's is made up: opening it for writing fails."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(device, "_claims", [])
    (tmp_path / "eps-resnet-gpu-a-0.lock").touch()
    really = Path.open

    def open_(path: Path, mode: str = "r") -> object:
        if mode != "r":
            raise PermissionError(13, "Permission denied")
        return really(path, mode)

    monkeypatch.setattr(Path, "open", open_)
    assert device.claim_card(["a"]) == 0
    with pytest.raises(UserError, match="All 1 GPUs are claimed"):
        device.claim_card(["a"])


def test_cards_are_told_apart_by_what_they_are_not_by_the_index_that_a_process_sees_them_under(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cluster that shows each job its own cards alone calls the first card of every job 0."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(device, "_claims", [])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for uuid in ("one", "another"):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, uuid=uuid: SimpleNamespace(uuid=uuid))
        assert device.claim_card(device.cards()) == 0
    with pytest.raises(UserError, match="All 2 GPUs are claimed"):
        device.claim_card(["another", "one"])


def test_trainings_that_share_cards_fill_them_evenly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Locks of one process exclude each other too, as each opens the file anew."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(device, "_claims", [])
    names = ["a", "b"]
    assert [device.claim_card(names, sharing=2) for _ in range(4)] == [0, 1, 0, 1]
    with pytest.raises(
        UserError, match=r"All 2 GPUs are claimed .* each by 2; start snakemake with `--resources gpu=4`"
    ):
        device.claim_card(names, sharing=2)
    with pytest.raises(UserError, match="All 2 GPUs are claimed by other trainings; "):
        device.claim_card(names)

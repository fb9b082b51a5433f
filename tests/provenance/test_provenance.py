"""Fingerprints: what a training depends on, and what it does not."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import IMAGENET_BLOCKS, Recipe
from eps_resnet.experiments.registry import Registry
from eps_resnet.provenance import code
from eps_resnet.provenance.code import git_commit
from eps_resnet.provenance.fingerprints import training_fingerprint
from eps_resnet.provenance.state import trained_on

KEYS = {
    "standard": "cifar10-110-standard-s0",
    "standard_side": "cifar10-110-standard_side-s0",
    "epsilon_side": "cifar10-110-epsilon_side-2p5-s0",
}


def fingerprints(experiments: Registry, tmp_path: Path, **changes: Any) -> dict[str, str]:
    """The fingerprints of three runs of CIFAR-10 with these keys of its recipe changed."""
    data = experiments.datasets["cifar10"]
    recipe = Recipe.model_validate({**data.recipe.model_dump(), **changes})
    datasets = {**experiments.datasets, "cifar10": data.model_copy(update={"recipe": recipe})}
    changed = experiments.model_copy(update={"datasets": datasets})
    layout = Layout(tmp_path)
    return {
        method: training_fingerprint(changed.experiment_of(changed.runs[key], layout)) for method, key in KEYS.items()
    }


@pytest.mark.parametrize(
    ("changes", "bears_on"),
    [
        ({"batch": 64}, {"standard", "standard_side", "epsilon_side"}),
        ({"discard_window": 100}, {"standard", "standard_side", "epsilon_side"}),  # blocks.parquet holds its counts
        ({"side_weight": 0.2}, {"standard_side", "epsilon_side"}),
        ({"epochs": {"standard": 100, "epsilon": 1000}}, {"standard", "standard_side"}),
        ({"epochs": {"standard": 200, "epsilon": 500}}, {"epsilon_side"}),
        ({"epsilon_start_epoch": 150}, {"epsilon_side"}),
        ({"restart_on": "running_average"}, {"epsilon_side"}),
        ({"adaptive_steps": None}, {"epsilon_side"}),
        ({"gate_scope": "batch"}, {"epsilon_side"}),
        ({"device": "cpu"}, set()),
        ({"epsilons": [2.3]}, set()),
    ],
)
def test_a_changed_key_makes_those_runs_stale_that_it_bears_on(
    experiments: Registry, tmp_path: Path, changes: dict[str, Any], bears_on: set[str]
) -> None:
    before, after = fingerprints(experiments, tmp_path), fingerprints(experiments, tmp_path, **changes)
    assert {method for method in KEYS if before[method] != after[method]} == bears_on


def test_the_blocks_of_a_network_are_part_of_its_fingerprint(
    experiments: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprint() -> str:
        run = experiments.run("imagenet-101-standard-s0")
        return training_fingerprint(experiments.experiment_of(run, Layout(tmp_path)))

    before = fingerprint()
    monkeypatch.setitem(IMAGENET_BLOCKS, 101, (3, 4, 22, 4))
    assert fingerprint() != before


def test_the_commit_of_the_code_is_known_in_a_repository() -> None:
    commit = git_commit()
    assert commit is None or len(commit.removesuffix("+dirty")) == 40


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of a single commit, of which this code is taken to be."""
    for words in ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m first"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    monkeypatch.setattr(code, "PACKAGE", tmp_path / "eps_resnet")
    return tmp_path


def test_the_commit_is_known_in_a_clone_that_another_user_owns(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try it
    refused = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, check=False)
    assert b"dubious ownership" in refused.stderr
    assert len(git_commit() or "") == 40


def test_a_commit_that_git_does_not_tell_is_missed_with_its_reason(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / ".git/HEAD").write_text("ref: refs/heads/none")
    assert git_commit() is None
    assert "The manifest will name no commit of the code: git answers: fatal: " in capsys.readouterr().err


def test_outside_a_repository_no_commit_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(code, "PACKAGE", tmp_path / "eps_resnet")
    assert git_commit() is None
    assert capsys.readouterr().err == ""


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["device", "recipe", "other"]), inner),
    max_leaves=6,
)


@given(ANYTHING, ANYTHING)
def test_what_a_run_was_trained_on_is_read_from_whatever_its_manifest_holds(machine: Any, made_from: Any) -> None:
    assert isinstance(trained_on({"machine": machine, "made_from": made_from}), str)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"machine": {"device": "cpu"}, "made_from": {"recipe": {}}}, "cpu"),
        ({"machine": {"device": "cpu"}, "made_from": {"recipe": {"precision": "bfloat16"}}}, "cpu in bfloat16"),
        ({"machine": {"device": "cuda"}, "made_from": ["recipe"]}, "cuda"),
        ({"machine": ["cpu"], "made_from": None}, "unknown"),
        ({"errors": {}}, "cpu"),
        (None, "cpu"),
    ],
)
def test_what_a_run_was_trained_on_tells_its_device_and_a_precision_below_float32(manifest: Any, words: str) -> None:
    assert trained_on(manifest) == words

"""What Snakemake's rules ask, asked without Snakemake."""

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from eps_resnet.files.errors import UserError
from eps_resnet.workflow import Workflow, refuse_arrays, refuse_what_a_clusters_shell_misreads
from tests.conftest import PROJECT
from tests.files.test_lock import GROUP, another_user, common

__all__ = ["common"]  # a fixture

GATED, BY_HAND = "digits-20-epsilon_side-2p5-s0", "imagenet-101-epsilon_side-2p0-s0"


@pytest.fixture
def committed() -> Workflow:
    """The project as it is committed."""
    return Workflow.of({}, [])


@pytest.fixture
def empty(tmp_path: Path) -> Workflow:
    """The project's registry over a root in which nothing is."""
    return Workflow.of({"root": str(tmp_path)}, [f"root={tmp_path}"])


@pytest.mark.parametrize(
    ("config", "written"),
    [
        ({"root": 1}, ["root=1"]),
        ({"root": "a{b}"}, ["root=a{b}"]),
        ({"root": "a\x1b"}, []),
        ({"root": "a"}, ["root=a #b"]),
        ({"digits": None}, ["digits=~"]),
        ({"gpus": 0}, []),
        ({"sharing": "two"}, []),
        ({"gpus": 2, "sharing": 2}, []),
    ],
)
def test_what_config_cannot_mean_is_refused_with_what_was_written(
    config: dict[str, object], written: list[str]
) -> None:
    with pytest.raises(UserError, match=r"--config"):
        Workflow.of(config, written)


def test_committed_results_are_current_and_their_stages_read_nothing(committed: Workflow) -> None:
    done = {key for key in committed.registry.runs if (committed.layout.run(key).metrics).exists()}
    assert len(done) == 103
    assert all(committed.is_current["train", key] and committed.is_current["evaluate", key] for key in done)
    assert committed.evaluate_inputs(GATED)["files"] == []
    assert committed.figure_inputs("figure6-digits")["files"] == []


def test_in_an_empty_root_each_stage_reads_what_the_one_before_it_makes(empty: Workflow) -> None:
    files, data = empty.layout.run(GATED), empty.layout
    images = [data.store("digits"), data.data_manifest("digits")]
    assert empty.train_inputs(GATED)["files"] == images
    assert empty.prune_inputs(GATED)["files"] == [files.model]
    assert empty.evaluate_inputs(GATED)["files"] == [files.model, files.pruned, files.history, *images]
    assert files.metrics in empty.figure_inputs("figure6-digits")["files"]


def test_fingerprint_files_are_older_than_any_result_where_it_is_current_and_new_each_time_where_not(
    empty: Workflow,
) -> None:
    empty.write_fingerprint_files()
    path = empty.layout.fingerprint("train", GATED)
    first = path.read_text()
    assert path.stat().st_mtime > 1
    empty.write_fingerprint_files()
    assert path.read_text() != first
    now = replace(empty)
    vars(now)["is_current"] = dict.fromkeys(empty.is_current, True)
    now.write_fingerprint_files()
    assert path.stat().st_mtime == 1


def test_targets_are_the_metrics_and_figures_of_a_data_set(committed: Workflow) -> None:
    targets = committed.targets(committed.demo)
    assert str(committed.layout.run(GATED).metrics) in targets
    assert "paper_tables/figure6-digits/summary.json" in targets
    assert not [target for target in targets if "cifar" in target]
    assert committed.paper == ["cifar10", "cifar100", "svhn", "imagenet"]


@pytest.mark.parametrize(("gpus", "taken"), [(1, 1), (2, 2), (3, 2), (4, 4), (8, 4)])
def test_a_training_takes_as_many_cards_as_can_share_its_slices_evenly(gpus: int, taken: int) -> None:
    asked = Workflow.of({"gpus": gpus}, [])
    assert (asked.cards(BY_HAND), asked.cards(GATED)) == (taken, 0)
    assert asked.decoders(BY_HAND, asked.cards(BY_HAND)) == 8 * taken
    assert bool(re.search(rf"--nproc-per-node {taken} ", asked.launch(BY_HAND))) == (taken > 1)


def test_no_job_asks_for_more_hours_than_a_cluster_gives() -> None:
    short = Workflow.of({"max_hours": 3}, [])
    assert short.minutes("train", BY_HAND, attempt=1) == 180
    assert short.megabytes("train", BY_HAND, attempt=2) == 2 * short.megabytes("train", BY_HAND, attempt=1)


def test_what_finishes_a_run_comes_before_any_training_and_first_seeds_before_others(committed: Workflow) -> None:
    assert committed.first > max(committed.worth.values())
    assert committed.worth[GATED] > committed.worth[GATED.replace("-s0", "-s1")]


def test_trainings_that_need_a_gpu_are_refused_without_one_and_others_are_not(
    committed: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("EPS_RESNET_ALLOW_CPU", raising=False)
    committed.refuse_without_gpu([GATED], ["digits"])
    with pytest.raises(UserError, match="No GPU here, and 1 of the trainings"):
        committed.refuse_without_gpu([GATED, BY_HAND], [])
    with pytest.raises(UserError, match="No GPU here"):
        committed.refuse_without_gpu([], ["imagenet"])


def test_arrays_of_slurm_and_words_that_shells_misread_are_refused() -> None:
    refuse_arrays(SimpleNamespace())
    with pytest.raises(UserError, match="--slurm-array-jobs"):
        refuse_arrays(SimpleNamespace(array_jobs="all"))
    refuse_what_a_clusters_shell_misreads(["root=demo"])
    with pytest.raises(UserError, match="paths without quotes"):
        refuse_what_a_clusters_shell_misreads(["root=it's"])


def test_a_figures_captions_name_its_runs_and_seeds(committed: Workflow) -> None:
    about = committed.about("figure6-digits")
    assert (about["number"], about["seeds"], len(about["runs"])) == ("6", 5, 45)
    assert (PROJECT / "workflow/report/figure.rst").exists()


def test_fingerprint_files_of_another_user_of_the_group_are_written_anew(common: Path) -> None:
    if os.geteuid() == 0:
        os.chown(common, 0, GROUP)
    common.chmod(0o2775)
    for part in ("results", "data"):
        (common / part).symlink_to(PROJECT / part)
    before = os.umask(0o002)
    try:
        Workflow.of({"root": str(common)}, [f"root={common}"]).write_fingerprint_files()
        files = [path for path in common.rglob("*") if path.is_file() and path.stat().st_mtime == 1]
        with another_user():
            Workflow.of({"root": str(common)}, [f"root={common}"]).write_fingerprint_files()
    finally:
        os.umask(before)
    assert files
    assert {path.stat().st_mtime for path in files} == {1}

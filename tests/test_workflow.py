"""What Snakemake's rules ask, asked without Snakemake."""

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.workflow import Step, Workflow, refuse_arrays, refuse_what_a_clusters_shell_misreads
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


def test_committed_results_are_current_and_their_steps_await_nothing(committed: Workflow) -> None:
    done = {key for key in committed.registry.runs if (committed.layout.run(key).metrics).exists()}
    assert len(done) >= 55
    assert all(committed.is_current["train", key] and committed.is_current["evaluate", key] for key in done)
    for step in (committed.evaluation(GATED), committed.drawing("figure6-digits")):
        assert step.is_current
        assert step.awaits == ()


def test_in_an_empty_root_each_step_is_due_and_awaits_what_the_one_before_it_makes(empty: Workflow) -> None:
    files, data = empty.layout.run(GATED), empty.layout
    images = (data.store("digits"), data.data_manifest("digits"))
    assert empty.training(GATED) == Step(False, (files.model,), images)
    assert empty.evaluation(GATED) == Step(False, (files.metrics,), (files.model, files.history, *images))
    assert empty.pruning(GATED) == Step(False, (files.pruned,), (files.model, files.metrics))
    assert files.metrics in empty.drawing("figure6-digits").awaits


def test_a_step_awaits_no_file_that_is_there_and_current(trained: tuple[Registry, Layout]) -> None:
    registry, layout = trained
    key = "digits-8-standard-s0"
    files = layout.run(key)
    there = replace(Workflow.of({}, []), registry=registry, layout=layout)
    files.metrics.unlink()
    assert there.evaluation(key) == Step(False, (files.metrics,), ())
    files.model.unlink()
    assert there.evaluation(key).awaits == (files.model,)
    assert there.training(key) == Step(True, (files.model,), ())
    layout.store("digits").unlink()
    assert there.training(key) == Step(True, (files.model,), (layout.store("digits"),))


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


def test_a_path_that_is_not_there_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    missing, archive = tmp_path / "missing.tar.gz", tmp_path / "archive.tar.gz"
    archive.touch()
    given = {"cifar10": str(missing), "svhn": str(archive), "cifar100": "https://mirror.org/cifar-100.tar.gz"}
    asked = Workflow.of(given, [])
    asked.refuse_missing_sources(["svhn", "cifar100", "imagenet"])
    with pytest.raises(UserError, match=rf"--config cifar10={missing}: there is no archive or folder"):
        asked.refuse_missing_sources(["svhn", "cifar10"])


def test_arrays_of_slurm_and_words_that_shells_misread_are_refused() -> None:
    refuse_arrays(SimpleNamespace())
    with pytest.raises(UserError, match="--slurm-array-jobs"):
        refuse_arrays(SimpleNamespace(array_jobs="all"))
    refuse_what_a_clusters_shell_misreads(["root=demo"])
    with pytest.raises(UserError, match="paths without quotes"):
        refuse_what_a_clusters_shell_misreads(["root=it's"])


def test_a_figures_captions_name_its_runs_and_seeds(committed: Workflow) -> None:
    about = committed.about("figure6-digits")
    assert (about["title"], about["seeds"], len(about["runs"])) == ("Figure 6 of the paper", 5, 45)
    assert (PROJECT / "workflow/report/figure.rst").exists()


def test_what_one_user_of_the_group_has_looked_at_another_may(common: Path) -> None:
    if os.geteuid() == 0:
        os.chown(common, 0, GROUP)
    common.chmod(0o2775)
    for part in ("results", "data"):
        (common / part).symlink_to(PROJECT / part)
    before = os.umask(0o002)
    try:
        Workflow.of({"root": str(common)}, [f"root={common}"]).look()
        with another_user():
            Workflow.of({"root": str(common)}, [f"root={common}"]).look()
    finally:
        os.umask(before)

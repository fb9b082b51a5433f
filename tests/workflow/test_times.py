"""Times of files decide nothing, by real Snakemake: what runs is what is stale, whatever times files have."""

import os
import shutil
import time
from pathlib import Path

import pytest

from eps_resnet.files.digests import sha256
from tests.conftest import jobs, run, small_registry

pytestmark = pytest.mark.slow  # starts real processes, for seconds each

DAY = 24 * 60 * 60
TIMES = {"1970": 0, "a second after it": 1, "tomorrow": time.time() + DAY}
RUN = "results/digits-8-standard-s0"
# What each stage reads and makes, and what Snakemake itself dates a training by.
FILES = {
    "images": ("data/*.*",),
    "training": (
        "results/*/model.safetensors",
        "results/*/history.csv",
        "results/*/blocks.*",
        "results/*/manifest.json",
    ),
    "benchmark": ("logs/train/*.tsv",),
    "pruned networks": ("results/*/pruned.safetensors",),
    "metrics": ("results/*/metrics.json",),
    "figures": ("paper_tables/figure*/*",),
    "everything": ("data/*.*", "results/*/*", "logs/*/*", "paper_tables/figure*/*", ".fingerprints/*"),
}
# Every stage's own results: `demo` asks for the last ones alone.
ALL = ("demo", "data/digits.safetensors", *(f"{RUN}/{name}" for name in ("model.safetensors", "pruned.safetensors")))


def times_of(project: Path) -> dict[Path, int]:
    folders = [project / name for name in ("data", "results", "logs", "paper_tables")]
    return {path: path.lstat().st_mtime_ns for folder in folders for path in folder.rglob("*") if path.is_file()}


def set_times(project: Path, files: str, when: float) -> None:
    paths = [path for pattern in FILES[files] for path in project.glob(pattern)]
    assert paths
    for path in paths:
        os.utime(path, (when, when))


@pytest.mark.parametrize("when", TIMES)
@pytest.mark.parametrize("files", FILES)
def test_whatever_times_files_have_nothing_is_planned_before_a_change_of_the_recipe_and_all_it_bears_on_after_it(
    finished: Path, files: str, when: str
) -> None:
    set_times(finished, files, TIMES[when])
    before = times_of(finished)
    assert "Nothing to be done" in run(finished, "snakemake", "-n", *ALL)
    small_registry(finished / "config/experiments.yaml", {"rate": 0.05})
    assert jobs(run(finished, "snakemake", "-n", *ALL)) == {
        "train": 3, "prune": 1, "evaluate": 3, "figure": 2, "demo": 1, "total": 10
    }  # fmt: skip
    assert times_of(finished) == before  # who only looks changes no time


@pytest.mark.parametrize("when", TIMES)
def test_whatever_times_files_have_a_change_of_the_code_redoes_what_follows_from_it_alone(
    finished: Path, when: str
) -> None:
    set_times(finished, "everything", TIMES[when])
    figure = finished / "eps_resnet/evidence/figures/figure7.py"
    figure.write_text(figure.read_text().replace("before and after pruning", "after and before pruning"))
    assert jobs(run(finished, "snakemake", "-n", *ALL)) == {"figure": 1, "demo": 1, "total": 2}
    measure = finished / "eps_resnet/measure/metrics.py"
    measure.write_text(measure.read_text() + "\n\nANOTHER = 1\n")
    assert jobs(run(finished, "snakemake", "-n", *ALL)) == {
        "prune": 1, "evaluate": 3, "figure": 2, "demo": 1, "total": 7
    }  # fmt: skip


@pytest.mark.parametrize("when", [*TIMES, "now"])
def test_images_fetched_into_a_clone_without_networks_train_nothing_that_is_finished(finished: Path, when: str) -> None:
    shutil.rmtree(finished / ".snakemake")  # a clone has no records of Snakemake, which forgive times of small files
    for path in finished.glob("results/*/*.safetensors"):
        path.unlink()
    set_times(finished, "images", TIMES.get(when, time.time()))
    assert "Nothing to be done" in run(finished, "snakemake", "-n", "demo", f"{RUN}/history.csv")


@pytest.mark.parametrize("when", TIMES)
def test_what_is_made_from_files_of_any_time_stays_and_is_not_made_again(finished: Path, when: str) -> None:
    small_registry(finished / "config/experiments.yaml", {"rate": 0.05})
    set_times(finished, "everything", TIMES[when])
    printed = run(finished, "snakemake", "--cores", "2", f"{RUN}/metrics.json")
    assert jobs(printed) == {"train": 1, "evaluate": 1, "total": 2}
    assert "Nothing to be done" in run(finished, "snakemake", "--cores", "2", f"{RUN}/metrics.json")


def test_a_training_is_kept_and_not_repeated_if_the_clock_was_set_back_between_its_beginning_and_its_end(
    project: Path,
) -> None:
    steps = project / "eps_resnet/cli/steps.py"  # as it ends, its images, fetched in this call, are of tomorrow
    trained = "        train(experiment, device.choose(experiment, sharing), threads, workers)\n"
    tomorrow = f"        import os; os.utime(experiment.layout.store('digits'), ({TIMES['tomorrow']},) * 2)\n"
    assert trained in steps.read_text()
    steps.write_text(steps.read_text().replace(trained, trained + tomorrow))
    target = f"{RUN}/metrics.json"
    assert "older modification time" in run(project, "snakemake", "--cores", "1", target, expect=1)
    before = sha256(project / RUN / "model.safetensors")
    printed = run(project, "snakemake", "--cores", "1", target)
    assert jobs(printed) == {"evaluate": 1, "total": 1}
    assert sha256(project / RUN / "model.safetensors") == before

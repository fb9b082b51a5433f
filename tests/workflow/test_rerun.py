"""What runs again, by real Snakemake: exactly what depends on a change, and nothing in a fresh clone;
and the report that Snakemake makes of what ran."""

import base64
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from eps_resnet.files.atomic import read_json
from tests.conftest import change, jobs, run, small_registry

pytestmark = pytest.mark.slow  # starts real processes, for seconds each


def test_two_epochs_go_from_data_to_tables_and_nothing_runs_twice(demo: tuple[Path, str]) -> None:
    project, printed = demo
    assert jobs(printed) == {
        "fetch": 1, "train": 3, "evaluate": 3, "figure": 2, "demo": 1, "total": 10
    }  # fmt: skip
    for name in ("table.csv", "table.md", "figure.svg", "figure.png", "figure.pdf"):
        assert (project / "paper_tables/figure6-digits" / name).stat().st_size > 100
    table = (project / "paper_tables/figure6-digits/table.md").read_text()
    assert "chosen on a split of the training images" in table
    metrics = read_json(project / "results/digits-8-epsilon_side-2p5-s0/metrics.json")
    assert f"{metrics['error']['pruned']:.2%}" in table
    assert "Nothing to be done" in run(project, "snakemake", "--cores", "2", "demo")


def test_a_fresh_clone_has_nothing_to_do_without_images_and_checkpoints(finished: Path) -> None:
    shutil.rmtree(finished / ".snakemake")  # and without Snakemake's metadata, times in any order
    shutil.rmtree(finished / ".fingerprints")
    for path in [finished / "data/digits.safetensors", *finished.glob("results/*/*.safetensors")]:
        path.unlink()
    for index, path in enumerate(sorted(finished.glob("results/*/*"))):
        os.utime(path, (1_000_000 + index, 1_000_000 + index))
    assert "Nothing to be done" in run(finished, "snakemake", "--cores", "2", "demo")

    # What is stale is found there too: the images come back, one run is trained.
    document = yaml.safe_load((finished / "config/experiments.yaml").read_text())
    runs = document["runs"]
    runs["digits-8-standard-s1"] = {**runs.pop("digits-8-standard-s0"), "seed": 1}
    (finished / "config/experiments.yaml").write_text(yaml.safe_dump(document))
    assert jobs(run(finished, "snakemake", "-n", "demo")) == {
        "fetch": 1, "train": 1, "evaluate": 1, "figure": 2, "demo": 1, "total": 6
    }  # fmt: skip


def test_a_training_that_fails_gives_the_former_result_back(finished: Path) -> None:
    result = finished / "results/digits-8-standard-s0"
    before = {path.name: path.read_bytes() for path in result.glob("*.[cjp]*")}
    small_registry(finished / "config/experiments.yaml", {"batch": 5000})  # more images than there are
    output = run(finished, "snakemake", "--cores", "1", f"{result.relative_to(finished)}/metrics.json", expect=1)
    assert "A batch has 5000 images" in output
    assert set(before) == {"history.csv", "manifest.json", "metrics.json", "blocks.parquet"}
    assert {path.name: path.read_bytes() for path in result.glob("*.[cjp]*")} == before


def test_a_comment_in_the_training_code_redoes_nothing_and_a_change_of_its_meaning_everything(finished: Path) -> None:
    code = finished / "eps_resnet/method/gate.py"
    code.write_text("# a comment\n" + code.read_text().replace("cut from the graph", "detached"))
    assert jobs(run(finished, "snakemake", "-n", "demo")) == {}
    code.write_text(code.read_text().replace("Decision(response <= float", "Decision(response < float"))
    everything = {
        "train": 3, "evaluate": 3, "figure": 2, "demo": 1, "total": 9
    }  # fmt: skip
    assert jobs(run(finished, "snakemake", "-n", "demo")) == everything


def test_a_change_in_a_tables_code_redoes_that_table_alone(finished: Path) -> None:
    code = finished / "eps_resnet/evidence/figures/figure7.py"
    code.write_text(code.read_text().replace("before and after pruning", "after and before pruning"))
    assert jobs(run(finished, "snakemake", "-n", "demo")) == {"figure": 1, "demo": 1, "total": 2}


def test_a_manifest_that_does_not_fit_is_not_believed(finished: Path) -> None:
    path = finished / "results/digits-8-standard-s0/manifest.json"
    change(path, fingerprint="0" * 16)
    counts = jobs(run(finished, "snakemake", "-n", "demo"))
    assert counts == {"train": 1, "evaluate": 1, "figure": 2, "demo": 1, "total": 5}


def test_metrics_of_another_network_are_not_believed(finished: Path) -> None:
    path = finished / "results/digits-8-standard-s0/metrics.json"
    change(path, model_sha256="0" * 64)
    counts = jobs(run(finished, "snakemake", "-n", "demo"))
    assert counts == {"evaluate": 1, "figure": 2, "demo": 1, "total": 4}


def test_a_pruned_network_that_is_missing_is_made_without_another_evaluation(finished: Path) -> None:
    pruned = finished / "results/digits-8-standard-s0/pruned.safetensors"
    before = pruned.read_bytes()
    pruned.unlink()
    assert jobs(run(finished, "snakemake", "--cores", "1", str(pruned.relative_to(finished)))) == {
        "prune": 1,
        "total": 1,
    }
    assert pruned.read_bytes() == before


def test_a_pruned_network_that_is_asked_for_with_its_metrics_follows_the_evaluation_that_made_it(
    finished: Path,
) -> None:
    result = finished / "results/digits-8-standard-s0"
    before = [(result / name).read_bytes() for name in ("pruned.safetensors", "metrics.json")]
    for name in ("pruned.safetensors", "metrics.json"):
        (result / name).unlink()
    targets = [f"results/{result.name}/{name}" for name in ("pruned.safetensors", "metrics.json")]
    printed = run(finished, "snakemake", "--cores", "2", *targets)
    assert jobs(printed) == {"evaluate": 1, "prune": 1, "total": 2}
    assert "Execute 2 jobs" not in printed  # one after the other, though two cores are free
    assert [(result / name).read_bytes() for name in ("pruned.safetensors", "metrics.json")] == before


def test_results_made_again_elsewhere_are_identical(demo: tuple[Path, str], project: Path) -> None:
    run(project, "snakemake", "--cores", "1", "--config", "root=demo", "--", "demo")
    assert (project / "demo/paper_tables/figure6-digits/table.md").exists()
    assert not (project / "results").exists()
    verdicts = run(project, "eps-resnet", "reproduction", "--json", "--committed", str(demo[0]))
    assert {row["verdict"] for row in json.loads(verdicts)} == {"identical"}


def test_a_changed_recipe_is_followed_to_the_table_in_one_call(finished: Path) -> None:
    small_registry(finished / "config/experiments.yaml", {"rate": 0.05})
    counts = jobs(run(finished, "snakemake", "--cores", "2", "demo"))
    assert (counts["train"], counts["evaluate"], counts["figure"]) == (3, 3, 2)
    states = json.loads(run(finished, "eps-resnet", "runs", "--json"))
    assert {row["state"] for row in states} == {"done"}
    assert "Nothing to be done" in run(finished, "snakemake", "--cores", "2", "demo")


def test_a_failed_fetch_keeps_the_manifest_and_names_the_reason(finished: Path) -> None:
    manifest = finished / "data/digits.json"
    before = manifest.read_bytes()
    (finished / "data/digits.safetensors").unlink()
    target = ("--", "data/digits.safetensors")
    output = run(finished, "snakemake", "--cores", "1", "--config", "digits=a wrong source", *target, expect=1)
    assert "it cannot be read from a wrong source" in output
    assert manifest.read_bytes() == before


def test_another_number_of_images_in_the_registry_fetches_the_data_again(finished: Path) -> None:
    file = finished / "config/experiments.yaml"
    file.write_text(file.read_text().replace("train_images: 1437", "train_images: 1400"))
    assert "fetch" in jobs(run(finished, "snakemake", "-n", "data/digits.safetensors"))


def test_a_drawing_that_was_not_finished_is_drawn(finished: Path) -> None:
    (finished / "paper_tables/figure7-digits/manifest.json").unlink()
    assert jobs(run(finished, "snakemake", "-n", "demo")) == {"figure": 1, "demo": 1, "total": 2}


NOWHERE = "http://127.0.0.1:9"  # a proxy that refuses everything


def test_snakemakes_report_has_a_caption_for_all_that_a_target_made_and_needs_no_network(finished: Path) -> None:
    run(finished, "snakemake", "--report", "report.html", "demo", http_proxy=NOWHERE, https_proxy=NOWHERE)
    page = (finished / "report.html").read_text()
    assert "ResNet, run by run" in page
    found = re.search(r"^ *var results = (\{.*\});$", page, re.MULTILINE)
    assert found
    results = json.loads(found[1])
    keys = [path.name for path in (finished / "results").iterdir()]
    figures = {f"paper_tables/figure{number}-digits/figure.svg": f"Figure {number} of the paper" for number in (6, 7)}
    tables = {f"paper_tables/figure{number}-digits/table.csv": f"table of Figure {number}" for number in (6, 7)}
    metrics = {f"results/{key}/metrics.json": key for key in keys}
    captions = {**figures, **tables, **metrics}
    assert set(results) == set(captions)
    for path, words in captions.items():
        caption = " ".join(results[path]["caption"].split())
        assert words in caption
        if path not in metrics:
            assert "one seed per configuration" in caption
            assert "not the paper's" in caption
        assert base64.b64decode(results[path]["data_uri"].split(",")[1]) == (finished / path).read_bytes()
        # Of second labels the page makes switches, and it breaks where a combination of them has no result.
        assert len(results[path]["labels"]) == 1
    assert all(key in results[path]["caption"] for key in keys for path in figures)


def test_a_target_that_is_not_finished_has_no_report(project: Path) -> None:
    output = run(project, "snakemake", "--report", "report.html", "demo", expect=1)
    assert "marked for report but does not exist" in output
    assert not (project / "report.html").exists()

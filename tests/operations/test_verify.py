"""`eps-resnet verify` finds each stale, altered, damaged or lost file; `eps-resnet why` says what it would redo."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import Digests, is_sealed, sha256, write_sealed
from eps_resnet.operations.verify import Verification, verify
from eps_resnet.operations.why import _rests_on, why
from eps_resnet.provenance import lineage
from eps_resnet.provenance.fingerprints import training_fingerprint
from eps_resnet.provenance.lineage import Entry
from eps_resnet.runs import checkpoint
from tests.conftest import PROJECT, change, jobs, run

pytestmark = pytest.mark.slow  # starts real processes, for seconds each

KEY = "digits-8-epsilon_side-2p5-s0"
RESULT = f"results/{KEY}"


def found(project: Path, monkeypatch: pytest.MonkeyPatch) -> Verification:
    monkeypatch.chdir(PROJECT)  # where the published numbers lie
    return verify(registry.load(project / "config/experiments.yaml"), Layout(project))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_every_file_of_a_finished_project_is_verified(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(finished, monkeypatch)
    assert (whole.problems, whole.absent) == ([], [])
    made = [*finished.glob("results/*/*"), *finished.glob("paper_tables/figure*/*"), *finished.glob("data/digits*")]
    assert sorted(whole.verified) == sorted(map(str, made))


ALTERATIONS: dict[str, Callable[[Path], object]] = {
    f"{RESULT}/model.safetensors": flip,
    f"{RESULT}/pruned.safetensors": flip,
    f"{RESULT}/history.csv": lambda path: edit(path, "0.1,", "0.2,"),
    f"{RESULT}/blocks.parquet": flip,
    f"{RESULT}/manifest.json": lambda path: edit(path, '"threads": 1', '"threads": 2'),
    f"{RESULT}/metrics.json": lambda path: edit(path, '"pruned": 0.', '"pruned": 0.0'),
    "data/digits.safetensors": flip,
    "data/digits.json": lambda path: edit(path, '"train_images": 1437', '"train_images": 1436'),
    "paper_tables/figure6-digits/table.csv": flip,
    "paper_tables/figure6-digits/table.md": lambda path: path.write_text(path.read_text() + " "),
    "paper_tables/figure6-digits/figure.svg": flip,
    "paper_tables/figure6-digits/figure.png": Path.unlink,
    "paper_tables/figure6-digits/manifest.json": flip,
    "results/digits-8-standard-s7/metrics.json": lambda path: (path.parent.mkdir(), path.write_text("{}")),
}


@pytest.mark.parametrize("name", list(ALTERATIONS))
def test_an_altered_file_is_found_and_named(finished: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ALTERATIONS[name](finished / name)
    paths = [problem.path for problem in found(finished, monkeypatch).problems]
    assert [path for path in paths if str(finished / name).startswith(path)], paths
    unrelated = [path for path in paths if "standard_side" in path]
    assert unrelated == []


def test_the_command_fails_names_the_file_and_says_what_to_do(finished: Path) -> None:
    run(finished, "eps-resnet", "verify")
    flip(finished / RESULT / "model.safetensors")
    printed = run(finished, "eps-resnet", "verify", expect=1)
    assert f"{RESULT}/model.safetensors was altered" in printed
    assert "`dvc checkout` brings it back if DVC has it" in printed
    assert json.loads(run(finished, "eps-resnet", "verify", "--json", expect=1))["problems"][0]["path"].endswith(
        "tensors"
    )


def test_networks_and_images_that_are_not_here_are_no_problem(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in [finished / "data/digits.safetensors", *finished.glob("results/*/*.safetensors")]:
        path.unlink()
    without = found(finished, monkeypatch)
    assert without.problems == []
    assert len(without.absent) == 7


def test_a_fresh_clone_of_this_project_is_verified(tmp_path: Path) -> None:
    if subprocess.run(["git", "rev-parse"], cwd=PROJECT, capture_output=True, check=False).returncode:
        pytest.skip("not a git repository")
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(tmp_path / "clone")], check=True)
    printed = run(tmp_path / "clone", "eps-resnet", "verify")
    assert "0 are not" in printed


def test_what_a_file_manager_leaves_among_the_results_is_no_run(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".DS_Store", "Thumbs.db", f"{KEY}/.DS_Store"):
        (finished / "results" / name).write_bytes(b"x")
    (finished / "results/.ipynb_checkpoints").mkdir()
    assert found(finished, monkeypatch).problems == []


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of this project by git with core.autocrlf=true, as on Windows."""
    if subprocess.run(["git", "rev-parse"], cwd=PROJECT, capture_output=True, check=False).returncode:
        pytest.skip("not a git repository")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "-c", "core.autocrlf=true", str(PROJECT), str(clone)], check=True)
    return clone


def test_a_clone_that_converts_line_ends_has_the_committed_bytes(clone: Path) -> None:
    assert "0 are not" in run(clone, "eps-resnet", "verify")


def test_converted_line_ends_are_one_sentence_whose_remedy_helps(clone: Path) -> None:
    (clone / ".gitattributes").write_text("* text=auto\n")  # as in a clone made before there was one
    converted = "git ls-files -z ':!.gitattributes' | xargs -0 rm && git checkout -q -- . ':!.gitattributes'"
    subprocess.run(["sh", "-c", converted], cwd=clone, check=True)
    printed = run(clone, "eps-resnet", "verify", expect=1)
    assert "are right but for the ends of their lines" in printed
    assert "was altered" not in printed
    assert "is stale" not in printed
    flip(clone / "results/digits-20-standard-s0/history.csv")
    assert "history.csv was altered" in run(clone, "eps-resnet", "verify", expect=1)
    subprocess.run(["sh", "-c", "git rm -rq --cached . && git reset -q --hard"], cwd=clone, check=True)
    assert "0 are not" in run(clone, "eps-resnet", "verify")


def test_a_lineage_that_was_edited_by_hand_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lineage.jsonl"
    path.write_text(lineage.LINEAGE.read_text().replace('"same source"', '"probes"', 1))
    monkeypatch.setattr(lineage, "entries", partial(lineage.entries, path))
    whole = verify(registry.load(PROJECT / "config/experiments.yaml"), Layout(tmp_path))
    assert (whole.verified, [problem.path for problem in whole.problems]) == ([], [str(lineage.LINEAGE)])
    assert "line 1 was edited by hand" in whole.problems[0].remedy


def test_a_manifest_that_does_not_say_what_it_was_made_from_is_a_problem(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(finished / RESULT / "manifest.json", made_from=["something"])
    problems = {problem.path: problem.problem for problem in found(finished, monkeypatch).problems}
    assert problems[str(finished / RESULT / "manifest.json")].startswith("is stale: all was ['something'], is ")


def reasons(project: Path, key: str = KEY) -> dict[str, tuple[str, ...]]:
    steps = why(registry.load(project / "config/experiments.yaml"), Layout(project), key)
    return {step.name: step.reasons for step in steps if step.reasons}


def test_a_current_run_has_nothing_to_redo(finished: Path) -> None:
    assert reasons(finished) == {}
    assert run(finished, "eps-resnet", "why", KEY).count("current") == 5


def test_why_names_the_key_of_the_recipe_that_changed_and_what_follows(finished: Path) -> None:
    document = yaml.safe_load((finished / "config/experiments.yaml").read_text())
    document["datasets"]["digits"]["recipe"]["rate"] = 0.05
    (finished / "config/experiments.yaml").write_text(yaml.safe_dump(document))
    assert reasons(finished) == {
        "train": ("recipe.rate was 0.1, is 0.05",),
        "prune, evaluate": ("it follows the training",),
        "figure6-digits": ("it shows this run",),
        "figure7-digits": ("it shows this run",),
    }


def test_why_names_altered_images_where_they_are_needed(finished: Path) -> None:
    flip(finished / "data/digits.safetensors")
    assert reasons(finished) == {}
    (finished / RESULT / "manifest.json").unlink()
    assert reasons(finished)["fetch digits"] == ("the images were altered",)


def test_why_names_the_folders_whose_code_changed(finished: Path) -> None:
    edit(finished / "eps_resnet/method/gate.py", "Decision(response <= float", "Decision(response < float")
    words = "the code in eps_resnet/method and eps_resnet/data/decode.py was changed"
    assert f"train            {words}" in run(finished, "eps-resnet", "why", KEY)
    assert f"stale: {words}" in run(finished, "eps-resnet", "verify", expect=1)


def test_why_tells_an_interrupted_run_from_one_that_never_ran(project: Path) -> None:
    assert reasons(project)["train"] == ("it never ran",)
    assert reasons(project)["fetch digits"] == ("the images are not here",)
    run(project, "eps-resnet", "fetch", "digits")
    experiments, layout = registry.load(project / "config/experiments.yaml"), Layout(project)
    checkpoint.save(
        layout.work(training_fingerprint(experiments.experiment(KEY, layout))), {}, {"epoch": 1, "step": 13}
    )
    assert reasons(project)["train"][0].startswith("it was interrupted; it resumes from epoch-00001-step-000000013-")


def test_an_altered_network_is_neither_used_nor_trained_over(finished: Path) -> None:
    flip(finished / RESULT / "model.safetensors")
    assert "Nothing to be done" in run(finished, "snakemake", "--cores", "1", "demo")  # no result needs it
    for command in (("eps-resnet", "train", KEY), ("eps-resnet", "prune", KEY), ("eps-resnet", "evaluate", KEY)):
        refused = run(finished, *command, expect=1)
        assert "is not the network that" in refused
        assert "`dvc checkout" in refused


def test_a_changed_byte_of_the_images_is_fetched_again_and_nothing_is_trained(finished: Path) -> None:
    before = sha256(finished / "data/digits.safetensors")
    flip(finished / "data/digits.safetensors")
    assert "Nothing to be done" in run(finished, "snakemake", "-n", "demo")  # all was made from the right ones
    assert jobs(run(finished, "snakemake", "--cores", "1", "data/digits.safetensors"))["total"] == 1
    assert sha256(finished / "data/digits.safetensors") == before
    assert "Nothing to be done" in run(finished, "snakemake", "-n", "demo")


def test_touching_every_file_in_another_folder_redoes_nothing(finished: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(finished, moved, ignore=shutil.ignore_patterns("moved", ".snakemake"))
    for path in moved.rglob("*"):
        path.touch()
    assert "Nothing to be done" in run(moved, "snakemake", "-n", "demo")


def test_a_seal_breaks_with_any_change_of_its_document(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    write_sealed(path, {"error": 0.1, "kept": [1, 2]})
    assert is_sealed(read_json(path))
    for changed in ({"error": 0.11}, {"kept": [2, 1]}, {"more": None}, {"seal": "0"}):
        assert not is_sealed({**read_json(path), **changed})
    assert not is_sealed(None)
    assert not is_sealed([])


def test_a_digest_is_remembered_unless_the_file_changed_a_moment_ago_when_a_change_may_have_the_same_time(
    tmp_path: Path,
) -> None:
    path, long_there = tmp_path / "file", Path(json.__file__)
    path.write_bytes(b"one")
    digests = Digests(tmp_path / "digests.json")
    assert [digests.sha256(path), digests.sha256(long_there)] == [sha256(path), sha256(long_there)]
    digests.save()
    assert set(read_json(tmp_path / "digests.json")) == {str(long_there)}


def test_a_digest_is_read_again_when_the_file_changed_even_to_the_same_size_and_time(tmp_path: Path) -> None:
    path, digests = tmp_path / "file", Digests(tmp_path / "digests.json")
    path.write_bytes(b"one")
    first = digests.sha256(path)
    digests.save()
    again = Digests(tmp_path / "digests.json")
    assert again.sha256(path) == first
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again.sha256(path) == sha256(path) != first
    (tmp_path / "digests.json").write_text(json.dumps({str(path): 1}))
    assert Digests(tmp_path / "digests.json").sha256(path) == sha256(path)


def test_why_and_verify_tell_by_which_entries_of_the_lineage_a_result_is_current(
    experiments: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "digits-20-standard-s0"
    experiment = experiments.experiment(key, Layout(PROJECT))
    code = read_json(experiment.files.manifest)["made_from"]["code"]
    entry = Entry("training", code, "later", ("a" * 40, "b" * 40), "probes", (), probes={"one": "0", "two": "0"})
    monkeypatch.setattr(lineage, "entries", lambda: (entry,))
    monkeypatch.setattr("eps_resnet.operations.why.layer_digest", lambda layer: "later")
    assert _rests_on(experiment, experiment.files.manifest, "training", ()) == (
        "by the lineage (2 probes, commit bbbbbbb)"
    )

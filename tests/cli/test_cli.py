"""The command line: JSON for other programs, and one clear sentence for each mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eps_resnet.experiments.registry import Registry
from tests.conftest import small_registry


def eps(*arguments: str, expect: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    process = subprocess.run(
        [sys.executable, "-m", "eps_resnet", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert process.returncode == expect, process.stderr
    return process


HEAVY = {"torch", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "matplotlib", "requests", "snakemake", "dvc"}


def imported(*command: str) -> set[str]:
    """The packages that a program of Python imports, what it prints aside."""
    process = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    lines = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in lines}


@pytest.mark.parametrize("command", [["--help"], ["runs", "--json"], ["show", "digits-20-standard-s0"], ["plan"]])
def test_what_only_looks_imports_no_library_of_numbers(command: list[str], tmp_path: Path) -> None:
    root = [] if "--help" in command else ["--root", str(tmp_path)]
    packages = imported("-m", "eps_resnet", *command, *root)
    assert "typer" in packages
    assert not packages & HEAVY


def test_help_does_not_wait_for_the_registry() -> None:
    assert not imported("-m", "eps_resnet", "--help") & {"pydantic", "yaml"}


def test_the_refusal_of_a_paper_sized_run_is_worded_without_torch() -> None:
    program = (
        "from pathlib import Path; from eps_resnet.experiments import registry;"
        "from eps_resnet.experiments.layout import Layout;"
        "from eps_resnet.runs import device;"
        "experiments = registry.load(Path('config/experiments.yaml'));"
        "print(device.refusal([experiments.experiment('imagenet-152-epsilon_side-1p8-s0', Layout())]))"
    )
    packages = imported("-c", program)
    assert "pydantic" in packages
    assert not packages & HEAVY


def test_runs_lists_every_run_with_its_state(experiments: Registry, tmp_path: Path) -> None:
    rows = json.loads(eps("runs", "--json", "--root", str(tmp_path)).stdout)
    assert [row["key"] for row in rows] == list(experiments.runs)
    assert set(rows[0]) == {"key", "dataset", "depth", "method", "epsilon", "seed", "state"}
    assert {row["state"] for row in rows} == {"missing"}


def test_describe_gives_the_network_before_training() -> None:
    facts = json.loads(eps("describe", "cifar10-110-epsilon_side-2p5-s0", "--json").stdout)
    assert facts["blocks"] == [18, 18, 18]
    assert facts["parameters"] == 1_727_962
    assert facts["parameters_with_side_head"] == 1_727_962 + 2 * 32 + 32 * 10 + 10
    assert round(facts["size_mib"], 2) == 6.59
    assert json.loads(eps("describe", "cifar10-110-standard-s0", "--json").stdout)["parameters_with_side_head"] is None


def test_show_of_a_run_that_is_missing_says_so(tmp_path: Path) -> None:
    facts = json.loads(eps("show", "digits-20-standard-s0", "--json", "--root", str(tmp_path)).stdout)
    assert facts == {"key": "digits-20-standard-s0", "state": "missing"}


@pytest.mark.slow
def test_a_run_goes_through_its_states(tmp_path: Path) -> None:
    file, key = small_registry(tmp_path / "experiments.yaml"), "digits-8-epsilon_side-2p5-s0"
    options = ("--root", str(tmp_path), "--registry", str(file))

    def state() -> str:
        return str(json.loads(eps("show", key, "--json", *options).stdout)["state"])

    eps("fetch", "digits", *options)
    assert state() == "missing"
    eps("train", key, *options)
    assert state() == "partial"
    assert "already trained" in eps("train", key, *options).stderr
    eps("prune", key, *options)
    eps("evaluate", key, *options)
    assert state() == "done"
    for checkpoint in ("model.safetensors", "pruned.safetensors"):
        (tmp_path / "results" / key / checkpoint).unlink()
    shown = json.loads(eps("show", key, "--json", *options).stdout)
    assert shown["state"] == "done"  # the checkpoint may be absent
    assert shown["discarded"] == sum(shown["blocks"]) - sum(shown["kept"])
    small_registry(file, {"weight_decay": 0.001})
    assert state() == "stale"


def test_compare_has_a_row_for_every_published_number(tmp_path: Path) -> None:
    every = json.loads(eps("compare", "--json", "--root", str(tmp_path)).stdout)
    rows = [row for row in every if row["dataset"] != "cifar10-cpu"]  # a smaller version, beside the same numbers
    assert (len(rows), len(every)) == (257, 266)
    assert not [row for row in rows if row["runs"]]
    assert {row["dataset"] for row in rows} == {"cifar10", "cifar100", "svhn", "imagenet"}
    columns = "figure dataset depth epsilon method metric epoch group unit source published uncertainty ours low high"
    assert " ".join(rows[0]) == f"{columns} n_seeds other_reading verdict reason runs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "digits-20-standard"), "No run is called 'digits-20-standard'.*did you mean"),
        (("show", "nothing"), "No run is called 'nothing'"),
        (("fetch", "mnist"), "No data set is called 'mnist'"),
        (("fetch", "cifar10", "--from", "missing.tar.gz"), r"no archive or folder at missing\.tar\.gz"),
        (("fetch", "imagenet"), "imagenet is not downloaded.*--from PATH"),
        (("table", "figure2-cifar10"), "No figure is called 'figure2-cifar10'.*did you mean figure"),
        (("runs", "--registry", "nowhere.yaml"), r"No registry at nowhere\.yaml"),
        (("prune", "digits-20-standard-s0"), "There is no file"),
        (("export", "digits-20-standard-s0", "network.txt"), r"network\.txt ends in none of \.onnx, \.pt2"),
        (("export", "digits-20-standard-s0", "network.onnx"), "There is no file .*run `eps-resnet train"),
        (("train", "digits-20-standard-s0"), "Data set digits is not at .*run `eps-resnet fetch digits`"),
    ],
)
def test_a_mistake_ends_with_one_clear_sentence(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    root = () if arguments[0] in ("describe",) else ("--root", str(tmp_path))
    process = eps(*arguments, *root, expect=1)
    assert process.stdout == ""
    assert process.stderr.startswith("eps-resnet: ")
    assert "Traceback" not in process.stderr
    import re

    assert re.search(message, process.stderr.replace("\n", " "))


def test_a_wrong_depth_and_a_negative_epsilon_end_with_a_sentence(tmp_path: Path) -> None:
    text = Path("config/experiments.yaml").read_text()
    file = tmp_path / "experiments.yaml"
    for old, new, message in (
        ("depth: 110, method: standard, seed", "depth: 111, method: standard, seed", "must be 6n+2"),
        ("epsilon: 2.3", "epsilon: -2.3", "should be greater than 0, found -2.3"),
    ):
        file.write_text(text.replace(old, new))
        process = eps("runs", "--registry", str(file), expect=1)
        assert message in process.stderr
        assert "Traceback" not in process.stderr
    file.write_bytes(b"\xff\xfe")
    assert "not valid YAML" in eps("runs", "--registry", str(file), expect=1).stderr
    assert "cannot be read" in eps("runs", "--registry", str(tmp_path), expect=1).stderr


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_a_damaged_archive_ends_with_a_sentence(tmp_path: Path, damage: str) -> None:
    archive = tmp_path / "cifar-10-binary.tar.gz"
    content = bytearray(b"some archive" * 1000)
    content[5] ^= 1
    archive.write_bytes(content if damage == "flipped" else content[:-7])
    process = eps("fetch", "cifar10", "--from", str(archive), "--root", str(tmp_path), expect=1)
    assert "is not an accepted copy of cifar10: SHA-256" in process.stderr
    assert "Traceback" not in process.stderr


def test_damaged_manifests_count_as_missing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/digits.json").write_text("{}")
    (tmp_path / "results/digits-20-standard-s0").mkdir(parents=True)
    (tmp_path / "results/digits-20-standard-s0/manifest.json").write_text("{}")
    rows = json.loads(eps("runs", "--json", "--root", str(tmp_path)).stdout)
    assert {row["key"]: row["state"] for row in rows}["digits-20-standard-s0"] == "stale"


@pytest.mark.slow
def test_a_paper_sized_training_without_a_gpu_is_refused_with_its_cost(tmp_path: Path, real_data: Path) -> None:
    eps("fetch", "cifar10", "--from", str(real_data / "cifar-10-binary-half.tar.gz"), "--root", str(tmp_path))
    key = "cifar10-110-epsilon_side-2p5-s0"
    process = eps("train", key, "--root", str(tmp_path), expect=1, CUDA_VISIBLE_DEVICES="")
    assert "No GPU here" in process.stderr
    assert "days" in process.stderr
    assert "make demo" in process.stderr
    assert "EPS_RESNET_ALLOW_CPU=1" in process.stderr
    assert not any((tmp_path / "work").iterdir())


@pytest.mark.slow
def test_no_space_ends_with_a_sentence_and_keeps_what_was_there(tmp_path: Path) -> None:
    eps("fetch", "digits", "--root", str(tmp_path))
    before = (tmp_path / "data/digits.safetensors").read_bytes()
    (tmp_path / "data/digits.json").unlink()  # so that it is fetched again
    limited = f"ulimit -f 8; exec {sys.executable} -m eps_resnet fetch digits --root {tmp_path}"
    process = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stderr
    assert "cannot be written: File too large" in process.stderr
    assert "Traceback" not in process.stderr
    assert (tmp_path / "data/digits.safetensors").read_bytes() == before
    assert [p.name for p in (tmp_path / "data").glob(".*")] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("mount -t tmpfs -o size=200k tmpfs {root}/results", "No space left on device"),
        ("mount -t tmpfs -o ro tmpfs {root}/results", "Read-only file system"),
    ],
)
def test_a_results_folder_that_cannot_be_written_ends_with_a_sentence(tmp_path: Path, mount: str, message: str) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("`unshare -m` is not permitted here: a full and a read-only file system cannot be mounted")
    options = ("--registry", str(small_registry(tmp_path / "experiments.yaml")), "--root", str(tmp_path))
    eps("fetch", "digits", *options)
    (tmp_path / "results").mkdir()
    train = f"{sys.executable} -m eps_resnet train digits-8-standard-s0 {' '.join(options)}"
    script = f"{mount.format(root=tmp_path)} && {train}"
    process = subprocess.run(["unshare", "-m", "bash", "-c", script], capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stderr
    assert f"cannot be written: {message}" in process.stderr
    assert "Traceback" not in process.stderr
    assert list((tmp_path / "work").glob("*/epoch-*"))  # what was trained is kept: the next call resumes

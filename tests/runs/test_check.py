"""`eps-resnet check` measures a pruned network again, without a training, and names what is not as it is recorded."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.experiments.targets import kept_in_git
from eps_resnet.files.atomic import read_json
from eps_resnet.files.errors import UserError
from eps_resnet.runs.check import Check, check
from tests.conftest import PROJECT, change

Small = tuple[Registry, Layout]
GATED, STANDARD = "digits-8-epsilon_side-2p5-s0", "digits-8-standard-s0"


def as_cloned(small: Small) -> Layout:
    """What a clone has of the project: no images and no trained networks."""
    registry, layout = small
    for path in (layout.store("digits"), *(layout.run(key).model for key in registry.runs)):
        path.unlink()
    return layout


def verdicts(found: Check) -> dict[str, str]:
    return {finding.what: finding.verdict for finding in found.findings}


def change_metrics(layout: Layout, group: str | None = None, **values: Any) -> None:
    """Other values in the record, sealed as if they had been measured."""
    path = layout.run(GATED).metrics
    change(path, **({group: {**read_json(path)[group], **values}} if group else values))


@pytest.mark.parametrize("key", [GATED, STANDARD])
def test_without_images_and_trained_networks_all_that_is_recorded_is_measured_again(trained: Small, key: str) -> None:
    layout = as_cloned(trained)
    before = layout.data_manifest("digits").read_bytes()
    found = check(trained[0], layout, key)
    assert set(verdicts(found).values()) == {"same"}
    assert found.agrees
    assert {"network", "images", "parameters", "MiB", "multiply-adds", "wrong", "wrong in batches"} < set(
        verdicts(found)
    )
    assert (layout.data_manifest("digits").read_bytes(), layout.store("digits").exists()) == (before, False)


def change_error_a_little(layout: Layout) -> None:
    """By less than an image."""
    change_metrics(layout, "error", pruned=read_json(layout.run(GATED).metrics)["error"]["pruned"] + 1e-4)


def edit_without_sealing(layout: Layout) -> None:
    path = layout.run(GATED).metrics
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 1'))


RECORDS: list[tuple[str, Callable[[Layout], None]]] = [
    ("wrong", lambda layout: change_metrics(layout, "error", pruned=0.5)),
    ("wrong", lambda layout: change_metrics(layout, "error", settled=0.0)),
    ("wrong", change_error_a_little),
    ("wrong, top 5", lambda layout: change_metrics(layout, "error", pruned_top5=0.5)),
    ("wrong in batches", lambda layout: change_metrics(layout, "wrong_per_batch", pruned=[0, 0, 0])),
    ("test images", lambda layout: change_metrics(layout, test_images=361)),
    ("parameters", lambda layout: change_metrics(layout, "after", parameters=75_001)),
    ("MiB", lambda layout: change_metrics(layout, "after", size_mib=0.25)),
    ("multiply-adds", lambda layout: change_metrics(layout, "after", multiply_adds=1)),
    ("blocks kept", lambda layout: change_metrics(layout, kept=[1, 1, 0])),
    ("layers", lambda layout: change_metrics(layout, "layers", kept=6)),
    ("network", lambda layout: change_metrics(layout, pruned_sha256="0" * 64)),
    ("records", edit_without_sealing),
]


@pytest.mark.parametrize(("what", "alter"), RECORDS, ids=[str(number) for number in range(len(RECORDS))])
def test_a_recorded_value_that_is_not_what_is_measured_differs_and_is_named(
    trained: Small, what: str, alter: Callable[[Layout], None]
) -> None:
    alter(trained[1])
    found = check(*trained, GATED)
    assert what in found.differing
    assert not found.agrees


@pytest.mark.parametrize(("more", "verdict"), [(1, "within rounding"), (2, "within rounding"), (3, "differs")])
def test_two_images_more_or_less_are_rounding_and_three_are_not(trained: Small, more: int, verdict: str) -> None:
    metrics = read_json(trained[1].run(GATED).metrics)
    first, *others = metrics["wrong_per_batch"]["pruned"]
    share = (first + more + sum(others)) / metrics["test_images"]
    change_metrics(trained[1], "wrong_per_batch", pruned=[first + more, *others])
    change_metrics(trained[1], "error", pruned=share)
    found = check(*trained, GATED)
    assert {verdicts(found)["wrong"], verdicts(found)["wrong in batches"]} == {verdict}
    assert found.agrees == (verdict != "differs")


def test_as_many_wrong_in_other_batches_are_other_predictions(trained: Small) -> None:
    first, second, third = read_json(trained[1].run(GATED).metrics)["wrong_per_batch"]["pruned"]
    change_metrics(trained[1], "wrong_per_batch", pruned=[first + 2, second - 2, third])
    found = check(*trained, GATED)
    assert (verdicts(found)["wrong"], verdicts(found)["wrong in batches"]) == ("same", "differs")


def test_a_flipped_bit_of_the_network_is_found_by_its_digest(trained: Small) -> None:
    path = trained[1].run(GATED).pruned
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert check(*trained, GATED).differing == ["network"]


def test_images_of_another_copy_differ(trained: Small) -> None:
    path = trained[1].run(GATED).manifest
    change(path, made_from={**read_json(path)["made_from"], "data": "0" * 64})
    assert check(*trained, GATED).differing == ["images"]


def test_a_network_or_a_record_that_is_not_here_ends_with_a_sentence(trained: Small) -> None:
    registry, layout = trained
    layout.run(GATED).pruned.unlink()
    with pytest.raises(UserError, match=r"is not here.*--all.*dvc pull"):
        check(registry, layout, GATED)
    layout.run(GATED).metrics.write_text("{}")
    with pytest.raises(UserError, match=r"metrics\.json is not as it is written here"):
        check(registry, layout, GATED)
    shutil.rmtree(layout.run(GATED).folder)
    with pytest.raises(UserError, match=r"manifest\.json is missing, so there is no record"):
        check(registry, layout, GATED)


def test_an_embedded_data_set_is_not_read_from_elsewhere(trained: Small) -> None:
    with pytest.raises(UserError, match="comes with a library"):
        check(*trained, GATED, "archive.tar.gz")


def test_the_committed_networks_are_what_their_records_say(experiments: Registry, tmp_path: Path) -> None:
    """Of digits, whose images need no download. An older record, without errors by batches, has no network in git."""
    layout, found = Layout(tmp_path), []
    layout.data_manifest("digits").parent.mkdir()
    shutil.copy(PROJECT / "data/digits.json", layout.data_manifest("digits"))
    for key in kept_in_git(experiments):
        if key.startswith("digits-") and (PROJECT / Layout().run(key).pruned).exists():
            shutil.copytree(PROJECT / Layout().run(key).folder, layout.run(key).folder)
            found.append(check(experiments, layout, key))
    assert [(one.key, one.differing) for one in found if not one.agrees] == []


def eps(folder: Path, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    options = ("--root", str(folder), "--registry", str(folder / "experiments.yaml"))
    command = [sys.executable, "-m", "eps_resnet", "check", *arguments, *options]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == expect, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    return process


@pytest.mark.slow
def test_the_command_fails_where_a_run_differs_and_says_in_what(trained: Small, tmp_path: Path) -> None:
    as_cloned(trained)
    assert "It agrees with its record." in eps(tmp_path, GATED).stdout
    assert kept_in_git(trained[0]) == [GATED]
    (found,) = json.loads(eps(tmp_path, "--all", "--json").stdout)
    assert (found["key"], found["agrees"]) == (GATED, True)
    change_metrics(trained[1], "after", parameters=1)
    printed = eps(tmp_path, STANDARD, GATED, expect=1).stdout
    assert "not as recorded: parameters" in printed
    assert "1 of 2 agree" in printed
    trained[1].run(STANDARD).pruned.unlink()
    process = eps(tmp_path, STANDARD, GATED, expect=1)
    assert "is not here" in process.stderr
    assert "Not as recorded: parameters." in process.stdout  # the others are checked all the same


@pytest.mark.slow
def test_the_command_asks_for_runs_that_can_be_checked(small: Small, tmp_path: Path) -> None:
    for arguments in ((), (GATED, "--all")):
        assert "Name the runs to check, or give --all" in eps(tmp_path, *arguments, expect=1).stderr
    assert "None of the runs whose pruned networks git has" in eps(tmp_path, "--all", expect=1).stderr
    assert "No run is called 'digits'" in eps(tmp_path, "digits", expect=1).stderr

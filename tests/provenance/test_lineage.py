"""The lineage: its entries can be recomputed, lead from old results to new code, and are not edited unnoticed."""

import ast
import json
import subprocess
from pathlib import Path

import pytest

from eps_resnet.experiments.registry import load
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import digest
from eps_resnet.files.errors import UserError
from eps_resnet.provenance import lineage
from eps_resnet.provenance.code import code_digest, layer_digest
from eps_resnet.provenance.lineage import LINEAGE, Entry, append, entries, path_between
from eps_resnet.provenance.state import trained_on
from tests.conftest import PROJECT


def shown(commit: str, path: str) -> str:
    command = ["git", "show", f"{commit}:{path}"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        pytest.skip(f"this clone does not have commit {commit[:7]}")
    return process.stdout


def former_digest(source: str) -> str:
    """The digest of one module, as manifests had it before there were layers: its syntax without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body.pop(0)
    return digest(ast.dump(tree))


FIRST = [entry for entry in entries() if entry.evidence == "same source"]
RESULT = "results/digits-20-epsilon_side-2p5-s0"
NAMED = {"training": f"{RESULT}/manifest.json", "evaluation": f"{RESULT}/metrics.json"}


@pytest.mark.parametrize("entry", FIRST, ids=lambda entry: entry.layer)
def test_both_digests_of_a_first_entry_are_those_of_the_commit_it_names(entry: Entry) -> None:
    commit = entry.commits[0]
    code = json.loads(shown(commit, NAMED[entry.layer]))["made_from"]["code"]  # what its results say of themselves
    assert code == {module: former_digest(shown(commit, f"eps_resnet/{module}.py")) for module in code}
    assert digest(code) == entry.before
    assert {f"eps_resnet/{module}.py" for module in code} <= set(entry.places)
    assert code_digest(shown(commit, file) for file in entry.places) == entry.after


@pytest.mark.parametrize("layer", ["training", "evaluation"])
def test_the_lineage_leads_from_committed_results_to_the_present_code(layer: lineage.Layer) -> None:
    code = read_json(Path(NAMED[layer]))["made_from"]["code"]
    found = path_between(layer, code, layer_digest(layer))
    assert found is not None, "the code was changed: run `eps-resnet attest` and commit what it adds"
    assert all(entry.layer == layer for entry in found)


def test_each_entry_begins_where_one_before_it_of_its_layer_ended() -> None:
    ends: dict[str, set[str]] = {}
    for entry in entries():
        is_first = entry.evidence == "same source" or (entry.evidence == "made anew" and entry.before == entry.after)
        assert is_first or entry.before in ends[entry.layer]
        ends.setdefault(entry.layer, set()).add(entry.after)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "lineage.jsonl"
    path.write_bytes(LINEAGE.read_bytes())
    return path


@pytest.mark.parametrize("name", ["before", "after", "layer", "evidence", "commits", "seal"])
def test_an_entry_that_was_edited_by_hand_is_named(copy: Path, name: str) -> None:
    lines = copy.read_text().splitlines()
    document = json.loads(lines[0])
    document[name] = ["0" * 40, "0" * 40] if name == "commits" else "0" * 16
    copy.write_text("\n".join([json.dumps(document), *lines[1:]]) + "\n")
    with pytest.raises(UserError, match=r"line 1 was edited by hand.*git checkout"):
        entries(copy)


def test_an_entry_that_was_removed_or_exchanged_with_another_is_noticed(copy: Path) -> None:
    lines = copy.read_text().splitlines()
    for changed in (lines[1:], [lines[1], lines[0], *lines[2:]]):
        copy.write_text("\n".join(changed) + "\n")
        entries.cache_clear()
        with pytest.raises(UserError, match="line 1 was edited by hand"):
            entries(copy)


def test_an_entry_is_added_behind_the_others_and_read_again(copy: Path) -> None:
    before = copy.read_bytes()
    entry = Entry(
        "training", layer_digest("training"), "f" * 16, ("a" * 40, "b" * 40), "probes", ("x",), probes={"p": "0"}
    )
    append(entry, copy)
    assert copy.read_bytes().startswith(before)
    assert entries(copy)[-1] == entry.sealed(entries(copy)[-2].seal)


def test_a_result_in_bfloat16_is_not_one_that_probes_in_float32_speak_for() -> None:
    manifest = {"machine": {"device": "cpu"}, "made_from": {"recipe": {"precision": "float32"}}}
    assert trained_on(manifest) == "cpu"
    manifest["made_from"]["recipe"]["precision"] = "bfloat16"
    assert trained_on(manifest) == "cpu in bfloat16"
    registry = load(PROJECT / "config/probes.yaml")
    assert all(data.recipe.precision == "float32" for data in registry.datasets.values())


def test_probes_on_a_cpu_speak_for_results_of_a_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (
        Entry("training", "a", "b", ("", ""), "same source", ()),
        Entry("training", "b", "c", ("", ""), "probes", ()),
    )
    monkeypatch.setattr(lineage, "entries", lambda: steps)
    assert path_between("training", "a", "c") == steps
    assert path_between("training", "a", "b", "NVIDIA H100") == steps[:1]
    assert path_between("training", "a", "c", "NVIDIA H100") is None
    assert path_between("evaluation", "a", "c") is None
    assert path_between("training", "c", "a") is None

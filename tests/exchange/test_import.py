"""Results of several people: what is taken over, what is refused, and that further seeds count."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from click.testing import Result
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from eps_resnet.cli import app
from eps_resnet.evidence.claims import claims
from eps_resnet.evidence.figures.results import runs_table
from eps_resnet.evidence.report.runs import run_views
from eps_resnet.exchange import import_results as import_results_module
from eps_resnet.exchange.contradictions import checked, contradictions
from eps_resnet.exchange.further_runs import add_runs, further_seeds, line_of
from eps_resnet.exchange.import_results import Imported, import_results
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import SEAL, digest, sha256
from eps_resnet.files.errors import UserError
from eps_resnet.files.lock import held
from eps_resnet.provenance import lineage
from eps_resnet.provenance.code import layer_digest
from eps_resnet.provenance.fingerprints import training_fingerprint
from eps_resnet.provenance.lineage import Entry
from eps_resnet.provenance.records import Manifest, Metrics
from eps_resnet.provenance.state import state
from eps_resnet.runs.evaluate import evaluate
from eps_resnet.runs.networks import prune_run
from eps_resnet.runs.train import train
from tests.conftest import PROJECT, change, once

KEY = "digits-8-epsilon_side-2p5-s1"
METHODS = ("standard-s1", "standard_side-s1", "epsilon_side-2p5-s1")
REGISTRY = Path("config/experiments.yaml")


def one_line_each(path: Path) -> None:
    """Writes a registry's runs as the project's own has them."""
    experiments = registry.load(path)
    document = yaml.safe_load(path.read_text())
    others = yaml.safe_dump({name: part for name, part in document.items() if name != "runs"})
    lines = [f"  {line_of(run)}" for run in experiments.runs.values()]
    path.write_text("\n".join(["runs:", "  # seeds", *lines, others]))


def with_registry(folder: Path) -> Path:
    """A root whose small registry lies where a project has it, a run in each line."""
    (folder / REGISTRY).parent.mkdir()
    (folder / "experiments.yaml").rename(folder / REGISTRY)
    one_line_each(folder / REGISTRY)
    return folder


@pytest.fixture(scope="session")
def colleague(_trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another project, in which seeds 0 and 1 of every run were trained."""

    def make(folder: Path) -> None:
        shutil.copytree(_trained_once, folder, dirs_exist_ok=True)
        path = with_registry(folder) / REGISTRY
        first = registry.load(path)
        second = add_runs(path, further_seeds(first, first.runs, 2))
        for key in second.runs.keys() - first.runs.keys():
            experiment = second.experiment(key, Layout(folder))
            train(experiment, torch.device("cpu"), 1)
            prune_run(experiment)
            evaluate(experiment)

    return once(tmp_path_factory, "colleague", make)[0]


@pytest.fixture
def ours(trained: tuple[Registry, Layout]) -> Path:
    """A project in which seed 0 of every run was trained."""
    return with_registry(trained[1].root)


@pytest.fixture
def theirs(colleague: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the colleague's clone for the test to change."""
    folder = tmp_path_factory.mktemp("theirs") / "clone"
    shutil.copytree(colleague, folder)
    return folder


def imported(ours: Path, theirs: Path) -> dict[str, Imported]:
    return {o.key: o for o in import_results(ours / REGISTRY, Layout(ours), theirs)}


def command(ours: Path, *words: str, expect: int = 0) -> Result:
    """What a command of `eps-resnet` does in this project."""
    options = ("--root", str(ours), "--registry", str(ours / REGISTRY))
    result = CliRunner().invoke(app, [*words, *options], catch_exceptions=False)
    assert result.exit_code == expect, result.output
    return result


def test_imported_runs_count_as_further_seeds_and_are_the_same_bytes(ours: Path, colleague: Path) -> None:
    printed = command(ours, "import", str(colleague)).output
    for name in METHODS:
        assert f"digits-8-{name}  imported" in printed
        for path in (colleague / "results" / f"digits-8-{name}").iterdir():
            assert (ours / "results" / f"digits-8-{name}" / path.name).read_bytes() == path.read_bytes()
    assert printed.count("already here") == 4  # three runs and the sum
    assert "3 imported, 3 already here, 0 refused" in printed
    assert "# seeds" in (ours / REGISTRY).read_text()

    command(ours, "table", "figure6-digits")
    table = (ours / "paper_tables/figure6-digits/table.md").read_text()
    assert table.count("| 2 of 2 |") == 3
    found = json.loads(command(ours, "claims", "--json").stdout)
    assert "(n 2 and 2)" in next(claim["evidence"] for claim in found if claim["number"] == 1)
    assert "0 imported, 6 already here, 0 refused" in command(ours, "import", str(colleague)).output


def test_runs_already_here_are_kept_and_other_results_of_the_same_seed_are_not_counted_twice(
    ours: Path, theirs: Path
) -> None:
    key = "digits-8-standard-s0"
    before = (ours / "results" / key / "metrics.json").read_bytes()
    change(theirs / "results" / key / "metrics.json", epoch=1)
    kept = Imported(key, "already here", ("with other results; the ones here are kept",))
    assert imported(ours, theirs)[key] == kept
    edit_manifest(theirs / "results" / key, data="00")
    assert imported(ours, theirs)[key].reasons[1].startswith("data was 00, is ")
    assert (ours / "results" / key / "metrics.json").read_bytes() == before


def edit_manifest(folder: Path, **values: object) -> None:
    """Says that a run was made from something else, sealed anew. A dictionary changes some of its keys."""
    made_from = read_json(folder / "manifest.json")["made_from"]
    parts = {name: {**made_from[name], **part} if isinstance(part, dict) else part for name, part in values.items()}
    change(folder / "manifest.json", made_from={**made_from, **parts})


def edit_metrics(folder: Path, name: str, **values: object) -> None:
    """Changes some keys of a part of metrics.json, sealed anew."""
    change(folder / "metrics.json", **{name: {**read_json(folder / "metrics.json")[name], **values}})


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def replaced(folder: Path, name: str, content: bytes) -> None:
    """Another file in place of history.csv or blocks.parquet, with its digest in the manifest, sealed anew."""
    (folder / name).write_bytes(content)
    change(folder / "manifest.json", **{f"{name.split('.')[0]}_sha256": sha256(folder / name)})


def edit_history(folder: Path, old: str, new: str) -> None:
    text = (folder / "history.csv").read_text()
    assert re.search(old, text, re.MULTILINE)
    replaced(folder, "history.csv", re.sub(old, new, text, count=1, flags=re.MULTILINE).encode())


def edit_blocks(folder: Path, edit: Callable[[pa.Table], pa.Table]) -> None:
    sink = io.BytesIO()
    pq.write_table(edit(pq.read_table(folder / "blocks.parquet")), sink)
    replaced(folder, "blocks.parquet", sink.getvalue())


def put_a_link(path: Path) -> None:
    """A link to a file elsewhere in place of the file."""
    path.unlink()
    path.symlink_to("/etc/passwd")


def put_a_pipe(path: Path) -> None:
    """A pipe that nobody writes to in place of the file."""
    path.unlink()
    os.mkfifo(path)


def mark_as_utf8(path: Path) -> None:
    """Puts a byte order mark before the text, which not all that reads JSON can read."""
    path.write_bytes(path.read_text().encode("utf-8-sig"))


# What is said of a run, and what is wrong with it.
REFUSALS: list[tuple[str, Callable[[Path], object]]] = [
    ("recipe.batch was 64, is 128", lambda f: edit_manifest(f, recipe={"batch": 64})),
    ("the code in eps_resnet/method and ", lambda f: edit_manifest(f, code="0" * 16)),
    ("data was 00", lambda f: edit_manifest(f, data="00")),
    ("k19 was 1, is nothing; and 980 more", lambda f: edit_manifest(f, **{f"k{i}": 1 for i in range(1000)})),
    ("\\x1b[2J was 1, is nothing", lambda f: edit_manifest(f, **{"\x1b[2J": 1})),
    ("history.csv was altered", lambda f: (f / "history.csv").write_text("epoch\n1\n")),
    ("blocks.parquet is missing", lambda f: (f / "blocks.parquet").unlink()),
    ("model.safetensors was altered", lambda f: (f / "model.safetensors").write_bytes(b"no network")),
    ("pruned.safetensors was altered", lambda f: put_a_link(f / "pruned.safetensors")),
    ("metrics.json was altered", lambda f: edit_text(f / "metrics.json", '"epoch": ', '"epoch": 1')),
    ("manifest.json was altered", lambda f: (f / "manifest.json").write_text("[" * 100_000)),
    ("manifest.json was altered", lambda f: mark_as_utf8(f / "manifest.json")),
    ("measured on another network", lambda f: change(f / "metrics.json", model_sha256="0" * 64)),
    ("there is no metrics.json", lambda f: (f / "metrics.json").unlink()),
    ("there is no metrics.json", lambda f: put_a_pipe(f / "metrics.json")),
    ("manifest.json names no run", lambda f: edit_manifest(f, run={"depth": "deep"})),
    ("its manifest is that of digits-8-epsilon_side-2p5-s3", lambda f: edit_manifest(f, run={"seed": 3})),
    ("its fingerprint is not of what it says", lambda f: change(f / "manifest.json", fingerprint="0" * 16)),
    ("metrics.json is that of another run", lambda f: change(f / "metrics.json", key="other")),
    ("metrics.json is not as it is written here: error.pruned", lambda f: edit_metrics(f, "error", pruned="0.01")),
    ("manifest.json is not as it is written here: seconds", lambda f: change(f / "manifest.json", seconds=None)),
    ("manifest.json is not as it is written here: machine.device", lambda f: change(f / "manifest.json", machine={})),
    ("manifest.json is not as it is written here: more", lambda f: change(f / "manifest.json", more=[])),
]


@pytest.mark.parametrize(("reason", "edit"), REFUSALS, ids=[reason for reason, _ in REFUSALS])
def test_what_was_not_made_from_what_is_here_or_was_altered_is_refused_and_the_others_are_taken(
    ours: Path, theirs: Path, reason: str, edit: Callable[[Path], object]
) -> None:
    edit(theirs / "results" / KEY)
    printed = command(ours, "import", str(theirs), expect=1).output
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{KEY}  refused")]
    assert reason in line
    assert not (ours / "results" / KEY).exists()
    assert KEY not in registry.load(ours / REGISTRY).runs
    assert "2 imported, 3 already here, 1 refused" in printed


# Records that are sealed and have the right digests, but cannot be true: what is said of them, and how they came to be.
CONTRADICTIONS: list[tuple[str, Callable[[Path], object]]] = [
    (
        "does not follow from what was measured: discarded was 1, is 0",
        lambda f: change(f / "metrics.json", discarded=1),
    ),
    ("from what was measured: error.final was", lambda f: edit_metrics(f, "error", final=0.01)),
    ("from what was measured: after.parameters was", lambda f: edit_metrics(f, "after", parameters=1)),
    ("metrics.json is not as it is written here: more", lambda f: change(f / "metrics.json", more=1)),
    ("metrics.json is not as it is written here: discarded", lambda f: change(f / "metrics.json", discarded=False)),
    ("is of epoch 3, and there are 2", lambda f: change(f / "metrics.json", epoch=3)),
    (
        "counts other test images",
        lambda f: (edit_metrics(f, "agreement", images=10), change(f / "metrics.json", test_images=10)),
    ),
    ("an error that is no whole number of test images", lambda f: edit_metrics(f, "error", gated_top5=0.0001)),
    ("metrics.json has two errors for one epoch", lambda f: edit_metrics(f, "latest", gated=0.0)),
    ("another last epoch at the lowest rate (1)", lambda f: edit_metrics(f, "latest", epoch=1)),
    ("counts other errors in its batches than in all", lambda f: edit_metrics(f, "wrong_per_batch", pruned=[0, 0, 0])),
    ("history.csv has other gates at epoch", lambda f: edit_metrics(f, "agreement", flickered_in_training=3)),
    ("history.csv is not as it is written here", lambda f: replaced(f, "history.csv", b"")),
    ("history.csv is not as it is written here", lambda f: replaced(f, "history.csv", b"\xff" * 100)),
    ("history.csv is not as it is written here", lambda f: edit_history(f, "^2,.*\n", "")),
    ("history.csv is not as it is written here", lambda f: edit_history(f, "^2,0.1,", "2,fast,")),
    ("history.csv has numbers that cannot be", lambda f: edit_history(f, "^2,0.1,", "2,inf,")),
    ("blocks.parquet is not as it is written here", lambda f: replaced(f, "blocks.parquet", b"PAR1" * 100)),
    ("blocks.parquet is not as it is written here", lambda f: edit_blocks(f, lambda table: table.slice(1))),
    ("blocks.parquet is not as it is written here", lambda f: edit_blocks(f, lambda table: table.drop_columns("p0"))),
    (
        "blocks.parquet has other gates at epoch 2",
        lambda f: edit_blocks(f, lambda table: table.set_column(2, "closed", pa.array([11] * 6, pa.uint16()))),
    ),
]


@pytest.mark.parametrize(("reason", "edit"), CONTRADICTIONS, ids=[reason for reason, _ in CONTRADICTIONS])
def test_records_that_cannot_be_true_together_are_refused(
    ours: Path, theirs: Path, reason: str, edit: Callable[[Path], object]
) -> None:
    edit(theirs / "results" / KEY)
    found = imported(ours, theirs)[KEY]
    assert (found.outcome, [line for line in found.reasons if reason in line]) == ("refused", list(found.reasons))


def test_all_results_of_this_project_can_be_true(experiments: Registry) -> None:
    layout = Layout()
    done = [run for key in experiments.runs if state(run := experiments.experiment(key, layout)) == "done"]
    assert len(done) >= 55
    for run in done:
        checked(Manifest, read_json(run.files.manifest), run.key)
        metrics = checked(Metrics, read_json(run.files.metrics), run.key)
        assert contradictions(run, run.files, metrics) == []


OLD = "digits-20-standard-s0"


@pytest.fixture
def clone_and_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A clone of this project without results, and a folder that has one run made by its former code."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours / "config", theirs / "data"):
        folder.mkdir(parents=True)
    shutil.copy(PROJECT / REGISTRY, ours / REGISTRY)
    shutil.copy(PROJECT / "data/digits.json", theirs / "data/digits.json")
    shutil.copytree(PROJECT / "results" / OLD, theirs / "results" / OLD)
    manifest, metrics = (theirs / "results" / OLD / name for name in ("manifest.json", "metrics.json"))
    made_from = read_json(manifest)["made_from"]
    now = layer_digest("training")
    made_from["code"] = {"gate": "1" * 16}  # as before code had layers: a digest for each module
    change(manifest, made_from=made_from, fingerprint=digest(made_from))
    evaluated = {**read_json(metrics)["made_from"], "training": digest(made_from)}
    change(metrics, made_from=evaluated, fingerprint=digest(evaluated))
    entry = Entry("training", digest(made_from["code"]), now, ("", ""), "probes", ())
    monkeypatch.setattr(lineage, "entries", lambda: (entry,))
    return ours, theirs


def test_a_run_made_by_former_code_counts_where_the_lineage_leads_on_from_it(clone_and_old: tuple[Path, Path]) -> None:
    ours, theirs = clone_and_old
    assert imported(ours, theirs) == {OLD: Imported(OLD, "imported")}
    assert state(registry.load(ours / REGISTRY).experiment(OLD, Layout(ours))) == "done"
    for name in ("manifest.json", "metrics.json", "history.csv", "blocks.parquet"):
        assert (ours / "results" / OLD / name).read_bytes() == (theirs / "results" / OLD / name).read_bytes()


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest["machine"].update(device="cuda"),
        lambda manifest: manifest["made_from"]["code"].update(gate="0" * 16),
    ],
    ids=["ran on a card", "was another"],
)
def test_former_code_of_which_the_lineage_says_nothing_is_refused(
    clone_and_old: tuple[Path, Path], edit: Callable[[dict[str, Any]], object]
) -> None:
    ours, theirs = clone_and_old
    manifest = read_json(theirs / "results" / OLD / "manifest.json")
    edit(manifest)
    change(theirs / "results" / OLD / "manifest.json", **manifest)
    (found,) = imported(ours, theirs).values()
    assert (found.outcome, found.reasons[0].startswith("the code in eps_resnet/method and ")) == ("refused", True)


FILES = ("manifest.json", "metrics.json", "history.csv", "blocks.parquet", "model.safetensors", "pruned.safetensors")
# What was measured and what tells of the machine: an altered value that is sealed anew must be believed, if it can be.
BELIEVED = {"machine", "seconds", "finished", "git_commit", "epoch", "error", "agreement", "latest", "wrong_per_batch"}


@pytest.fixture(scope="module")
def attempt(
    _trained_once: Path, colleague: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, bytes], tuple[Path, Imported]]:
    """Imports one run, of which one file has another content, into a project that lacks it."""
    ours, theirs = (tmp_path_factory.mktemp("attempt") / name for name in ("ours", "theirs"))
    shutil.copytree(_trained_once, ours)
    with_registry(ours)
    before = (ours / REGISTRY).read_bytes()

    def attempted(name: str, content: bytes) -> tuple[Path, Imported]:
        shutil.rmtree(ours / "results" / KEY, ignore_errors=True)
        shutil.rmtree(theirs, ignore_errors=True)
        shutil.copytree(colleague / "results" / KEY, theirs / "results" / KEY)
        (ours / REGISTRY).write_bytes(before)
        (theirs / "results" / KEY / name).write_bytes(content)
        return ours, imported(ours, theirs)[KEY]

    return attempted


@given(st.data())
def test_a_run_with_an_altered_byte_anywhere_is_refused(
    colleague: Path, attempt: Callable[[str, bytes], tuple[Path, Imported]], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(FILES))
    content = bytearray((colleague / "results" / KEY / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    is_space = content[place : place + 1].isspace()  # between the values of a document any other will do
    content[place] ^= data.draw(st.integers(1, 255))
    ours, found = attempt(name, bytes(content))
    assert found.outcome == "refused" or (is_space and name.endswith(".json"))
    assert found.outcome == "refused" or read_json(ours / "results" / KEY / name)


def leaves(document: dict[str, Any], *place: str) -> list[tuple[str, ...]]:
    """The places of all values of a document, but of its seal."""
    places = []
    for name, value in document.items():
        places += [(*place, name), *(leaves(value, *place, name) if isinstance(value, dict) else [])]
    return [found for found in places if found != (SEAL,)]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.just(...),
)  # fmt: skip


@given(st.data(), st.booleans())
def test_a_run_with_an_altered_value_is_refused_or_where_it_is_sealed_anew_of_use(
    colleague: Path, attempt: Callable[[str, bytes], tuple[Path, Imported]], data: st.DataObject, is_sealed_anew: bool
) -> None:
    name = data.draw(st.sampled_from(("manifest.json", "metrics.json")))
    document = read_json(colleague / "results" / KEY / name)
    place, value = data.draw(st.sampled_from(leaves(document))), data.draw(VALUES)
    part = document
    for key in place[:-1]:
        part = part[key]
    former = part.pop(place[-1])
    assume(json.dumps(former) != (value if value is ... else json.dumps(value)))
    if value is not ...:  # which stands for no value at all
        part[place[-1]] = value
    if is_sealed_anew:
        del document[SEAL]
        document[SEAL] = digest(document)
    ours, found = attempt(name, json.dumps(document).encode())
    if found.outcome == "refused":
        return
    assert is_sealed_anew
    assert place[0] in BELIEVED
    experiments, layout = registry.load(ours / REGISTRY), Layout(ours)
    assert state(experiments.experiment(KEY, layout)) == "done"
    assert {row["state"] for row in runs_table(experiments, layout, "figure6-digits").to_dict("records")} == {"done"}
    assert claims(experiments, layout)
    assert run_views(experiments, layout, dict.fromkeys(experiments.runs, "done"))


def test_a_configuration_that_the_registry_lacks_is_refused(ours: Path, theirs: Path) -> None:
    document = yaml.safe_load((ours / REGISTRY).read_text())
    del document["runs"]["digits-8-epsilon_side-2p5-s0"]
    (ours / REGISTRY).write_text(yaml.safe_dump(document))
    one_line_each(ours / REGISTRY)
    (reason,) = imported(ours, theirs)[KEY].reasons
    assert reason == "it belongs to no configuration of the registry, whatever the seed"


def test_folders_with_hostile_names_are_named_on_one_line_and_refused(ours: Path, theirs: Path) -> None:
    (theirs / "results" / "a\x1b[31m\nb").mkdir()
    (theirs / "results" / "link").symlink_to("/etc")
    (theirs / "results" / ".DS_Store").write_bytes(b"of a file manager")
    printed = command(ours, "import", str(theirs), expect=1).output
    assert "a\\x1b[31m\\nb  refused" in printed
    assert "link  refused: it is no folder" in printed
    assert ".DS_Store" not in printed


@pytest.mark.parametrize("dataset", ["../../escaped", "digits"])
def test_what_is_said_of_a_data_set_is_checked_and_not_taken_over_without_a_run(
    ours: Path, theirs: Path, dataset: str
) -> None:
    (ours / "data/digits.json").unlink()
    (ours / "data/digits.safetensors").unlink()
    shutil.rmtree(ours / "results")
    document = read_json(theirs / "data/digits.json")
    (theirs / "data/digits.json").write_text(json.dumps({**document, "dataset": dataset, "sha256": "0" * 64}))
    assert {outcome.outcome for outcome in imported(ours, theirs).values()} == {"refused"}
    assert not list(ours.parent.rglob("escaped.json"))
    assert not (ours / "data/digits.json").exists()


@pytest.mark.parametrize("content", ["[" * 100_000, None, '{"dataset": 1}'])
def test_a_damaged_data_manifest_is_passed_over(ours: Path, theirs: Path, content: str | None) -> None:
    (theirs / "data/digits.json").unlink()
    if content is None:
        os.mkfifo(theirs / "data/digits.json")
    else:
        (theirs / "data/digits.json").write_text(content)
    assert imported(ours, theirs)[KEY].outcome == "imported"


def test_one_training_under_the_names_of_two_seeds_is_refused(ours: Path, theirs: Path) -> None:
    folder, copy = theirs / "results" / KEY, theirs / "results" / KEY.replace("s1", "s2")
    shutil.copytree(folder, copy)
    document = read_json(copy / "manifest.json")
    made_from = {**document["made_from"], "run": {**document["made_from"]["run"], "seed": 2}}
    change(copy / "manifest.json", key=copy.name, made_from=made_from, fingerprint=digest(made_from))
    metrics = {**read_json(copy / "metrics.json")["made_from"], "training": digest(made_from)}
    change(copy / "metrics.json", key=copy.name, made_from=metrics, fingerprint=digest(metrics))
    found = imported(ours, theirs)
    assert found[KEY].outcome == "imported"
    assert found[copy.name].reasons == (f"its history is that of {KEY}: one training under two names",)


def test_a_run_that_is_being_trained_here_is_refused(ours: Path, theirs: Path) -> None:
    imported(ours, theirs)
    fingerprint = training_fingerprint(registry.load(ours / REGISTRY).experiment(KEY, Layout(ours)))
    shutil.rmtree(ours / "results" / KEY)
    with held(Layout(ours).training_lock(fingerprint), KEY):
        found = imported(ours, theirs)[KEY]
    assert found.outcome == "refused"
    assert f"it is being trained or imported here by process {os.getpid()} on " in found.reasons[0]
    assert imported(ours, theirs)[KEY].outcome == "imported"


def test_a_run_that_changes_while_it_is_copied_does_not_count_and_the_others_do(
    ours: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add_and_change(path: Path, runs: list[Run]) -> Registry:  # after every run was checked, before any is copied
        (theirs / "results" / KEY / "manifest.json").write_text("{}")
        return add_runs(path, runs)

    monkeypatch.setattr(import_results_module, "add_runs", add_and_change)
    found = imported(ours, theirs)
    assert found[KEY].reasons == ("manifest.json changed while it was read; import again when nothing writes there",)
    assert not (ours / "results" / KEY / "manifest.json").exists()
    assert state(registry.load(ours / REGISTRY).experiment(KEY, Layout(ours))) == "stale"
    assert [outcome.outcome for outcome in found.values()].count("imported") == 2


def test_networks_of_a_former_training_go_where_the_new_ones_are_absent(ours: Path, theirs: Path) -> None:
    imported(ours, theirs)
    change(ours / "results" / KEY / "manifest.json", fingerprint="stale")
    (ours / "results" / KEY / "model.safetensors").write_bytes(b"former")
    for network in ("model", "pruned"):
        (theirs / "results" / KEY / f"{network}.safetensors").unlink()
    assert imported(ours, theirs)[KEY].outcome == "imported"
    assert not list((ours / "results" / KEY).glob("*.safetensors"))


def test_a_folder_without_results_and_the_project_itself_are_no_source(ours: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "nothing", ours):
        with pytest.raises(UserError, match="is no other project with results"):
            imported(ours, folder)


def test_a_clone_without_the_images_knows_from_the_others_which_copy_they_had(ours: Path, theirs: Path) -> None:
    shutil.rmtree(ours / "data")
    shutil.rmtree(ours / "results")
    assert {outcome.outcome for outcome in imported(ours, theirs).values()} == {"imported"}
    experiments = registry.load(ours / REGISTRY)
    assert {state(experiments.experiment(key, Layout(ours))) for key in experiments.runs} == {"done"}


def test_a_registry_that_cannot_be_added_to_stays_and_nothing_is_taken_over(ours: Path, theirs: Path) -> None:
    path = ours / REGISTRY
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text())))  # a run in several lines
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"in one line[^\n]*put these lines into it yourself:\nruns:\n  digits-8"):
        import_results(path, Layout(ours), theirs)
    assert path.read_bytes() == before
    assert not (ours / "results" / KEY).exists()


@settings(max_examples=10)  # each reads the project's registry several times
@given(st.data())
def test_added_runs_are_the_old_registry_with_these_runs_and_its_comments(
    tmp_path_factory: pytest.TempPathFactory, experiments: Registry, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("registry") / "experiments.yaml"
    shutil.copy(PROJECT / REGISTRY, path)
    keys = data.draw(st.lists(st.sampled_from(list(experiments.runs)), min_size=1, max_size=4))
    seeds = data.draw(st.integers(1, 7))
    runs = further_seeds(experiments, keys, seeds)
    after = add_runs(path, runs)
    assert after == registry.load(path)
    assert dict(after.runs) == {**experiments.runs, **{run.key: run for run in runs}}
    comments = [line for line in (PROJECT / REGISTRY).read_text().splitlines() if "#" in line]
    assert [line for line in path.read_text().splitlines() if "#" in line] == comments
    prefixes = [key.rpartition("-s")[0] for key in after.runs]
    places = {prefix: [i for i, other in enumerate(prefixes) if other == prefix] for prefix in prefixes}
    assert all(found == list(range(found[0], found[0] + len(found))) for found in places.values())  # side by side


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])  # at the end of the file
def test_added_runs_are_all_that_changes_in_the_file(
    tmp_path: Path, experiments: Registry, ends: str, last: str
) -> None:
    path = tmp_path / "experiments.yaml"
    text = (PROJECT / REGISTRY).read_text(encoding="utf-8").replace("\n", ends) + f"# a comment{last}"
    path.write_bytes(text.encode())
    before = path.read_bytes().splitlines(keepends=True)
    runs = further_seeds(experiments, ["digits-20-standard-s0"], 7)
    add_runs(path, runs)
    after = path.read_bytes().splitlines(keepends=True)
    added = [line for line in after if line not in before]
    assert [line.strip().decode() for line in added] == [line_of(run) for run in runs]
    assert all(line.endswith(ends.encode()) for line in added)
    assert [line for line in after if line not in added] == before


@given(st.floats(1e-6, 1e4), st.integers(0, 2**31 - 1))
def test_a_run_written_as_a_line_is_read_back_as_it_was(epsilon: float, seed: int) -> None:
    wanted = Run(dataset="digits", depth=8, method="epsilon_side", epsilon=round(epsilon, 6), seed=seed)
    ((key, values),) = yaml.safe_load(line_of(wanted)).items()
    assert (key, Run.model_validate(values)) == (wanted.key, wanted)

"""Results of several people: what is taken over, what is refused, and that further seeds count."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet import registry
from eps_resnet.errors import UserError
from eps_resnet.files import digest, read_json
from eps_resnet.further_runs import add_runs, further_seeds, line_of
from eps_resnet.import_results import Imported, import_results
from eps_resnet.layout import Layout
from eps_resnet.provenance import state
from eps_resnet.registry import Registry, Run
from tests.conftest import PROJECT, change, run

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


@pytest.fixture(scope="module")
def colleague(demo: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another clone, in which seed 1 of every run was trained."""
    folder = tmp_path_factory.mktemp("colleague") / "clone"
    shutil.copytree(demo[0], folder)
    one_line_each(folder / REGISTRY)
    run(folder, "eps-resnet", "seeds", "2", "demo", "--registry", str(folder / REGISTRY))
    run(folder, "snakemake", "--cores", "2", "demo")
    return folder


@pytest.fixture
def ours(finished: Path) -> Path:
    """A project in which seed 0 of every run was trained."""
    one_line_each(finished / REGISTRY)
    return finished


@pytest.fixture
def theirs(colleague: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the colleague's clone for the test to change."""
    folder = tmp_path_factory.mktemp("theirs") / "clone"
    shutil.copytree(colleague, folder)
    return folder


def imported(ours: Path, theirs: Path) -> dict[str, Imported]:
    return {o.key: o for o in import_results(ours / REGISTRY, Layout(ours), theirs)}


def test_imported_runs_count_as_further_seeds_and_are_the_same_bytes(ours: Path, colleague: Path) -> None:
    printed = run(ours, "eps-resnet", "import", str(colleague))
    for name in METHODS:
        assert f"digits-8-{name}  imported" in printed
        for path in (colleague / "results" / f"digits-8-{name}").iterdir():
            assert (ours / "results" / f"digits-8-{name}" / path.name).read_bytes() == path.read_bytes()
    assert printed.count("already here") == 4  # three runs and the sum
    assert "3 imported, 3 already here, 0 refused" in printed
    assert "# seeds" in (ours / REGISTRY).read_text()

    run(ours, "eps-resnet", "table", "figure6-digits")
    table = (ours / "paper_tables/figure6-digits/table.md").read_text()
    assert table.count("| 2 of 2 |") == 3
    claims = json.loads(run(ours, "eps-resnet", "claims", "--json"))
    assert "(n 2)" in next(claim["evidence"] for claim in claims if claim["number"] == 1)
    assert "0 imported, 6 already here, 0 refused" in run(ours, "eps-resnet", "import", str(colleague))


def test_runs_already_here_are_kept_and_other_results_of_the_same_seed_are_not_counted_twice(
    ours: Path, theirs: Path
) -> None:
    key = "digits-8-standard-s0"
    before = (ours / "results" / key / "metrics.json").read_bytes()
    change(theirs / "results" / key / "metrics.json", epoch=1)
    assert imported(ours, theirs)[key].reasons == ("with other results; the ones here are kept",)
    assert (ours / "results" / key / "metrics.json").read_bytes() == before


def edit_manifest(path: Path, **values: object) -> None:
    change(path / "manifest.json", **{"made_from": {**read_json(path / "manifest.json")["made_from"], **values}})


# What is wrong with a run, and what is said of it.
REFUSALS: dict[str, Callable[[Path], object]] = {
    "recipe.batch was 64, is 128": lambda folder: edit_manifest(
        folder, recipe={**read_json(folder / "manifest.json")["made_from"]["recipe"], "batch": 64}
    ),
    "eps_resnet/gate.py was changed": lambda folder: edit_manifest(
        folder, code={**read_json(folder / "manifest.json")["made_from"]["code"], "gate": "0" * 16}
    ),
    "data was 00": lambda folder: edit_manifest(folder, data="00"),
    "history.csv was altered": lambda folder: (folder / "history.csv").write_text("epoch\n1\n"),
    "blocks.parquet is missing": lambda folder: (folder / "blocks.parquet").unlink(),
    "model.safetensors was altered": lambda folder: (folder / "model.safetensors").write_bytes(b"no network"),
    "metrics.json was altered": lambda folder: (folder / "metrics.json").write_text(
        (folder / "metrics.json").read_text().replace('"epoch": ', '"epoch": 1')
    ),
    "manifest.json was altered": lambda folder: (folder / "manifest.json").write_text("[" * 100_000),
    "measured on another network": lambda folder: change(folder / "metrics.json", model_sha256="0" * 64),
    "there is no metrics.json": lambda folder: (folder / "metrics.json").unlink(),
    "it is simulated: its numbers are invented": lambda folder: change(folder / "metrics.json", simulated=True),
    "manifest.json names no run": lambda folder: edit_manifest(folder, run={"depth": "deep"}),
    "its manifest is that of digits-8-epsilon_side-2p5-s3": lambda folder: edit_manifest(
        folder, run={**read_json(folder / "manifest.json")["made_from"]["run"], "seed": 3}
    ),
}


def put_a_link(path: Path) -> None:
    """A link to a file elsewhere in place of the file."""
    path.unlink()
    path.symlink_to("/etc/passwd")


def put_a_pipe(path: Path) -> None:
    """A pipe that nobody writes to in place of the file."""
    path.unlink()
    os.mkfifo(path)


REFUSALS["pruned.safetensors was altered"] = lambda folder: put_a_link(folder / "pruned.safetensors")
REFUSALS["its fingerprint is not of what it says"] = lambda folder: change(
    folder / "manifest.json", fingerprint="0" * 16
)
REFUSALS["metrics.json is not as it is written here: error.pruned"] = lambda folder: change(
    folder / "metrics.json", error={**read_json(folder / "metrics.json")["error"], "pruned": "0.01"}
)
REFUSALS["metrics.json is that of another run"] = lambda folder: change(folder / "metrics.json", key="other")
REFUSALS["there is no metrics.json"] = lambda folder: put_a_pipe(folder / "metrics.json")


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_was_not_made_from_what_is_here_or_was_altered_is_refused_and_the_others_are_taken(
    ours: Path, theirs: Path, reason: str
) -> None:
    REFUSALS[reason](theirs / "results" / KEY)
    printed = run(ours, "eps-resnet", "import", str(theirs), expect=1)
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{KEY}  refused")]
    assert reason in line
    assert not (ours / "results" / KEY).exists()
    assert KEY not in registry.load(ours / REGISTRY).runs
    assert "2 imported, 3 already here, 1 refused" in printed


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
    printed = run(ours, "eps-resnet", "import", str(theirs), expect=1)
    assert "a\\x1b[31m\\nb  refused" in printed
    assert "link  refused: it is no folder" in printed


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
        assert "is no other project with results" in run(ours, "eps-resnet", "import", str(folder), expect=1)


def test_a_clone_without_the_images_knows_from_the_others_which_copy_they_had(ours: Path, theirs: Path) -> None:
    shutil.rmtree(ours / "data")
    shutil.rmtree(ours / "results")
    assert {outcome.outcome for outcome in imported(ours, theirs).values()} == {"imported"}
    experiments = registry.load(ours / REGISTRY)
    assert {state(experiments, Layout(ours), key) for key in experiments.runs} == {"done"}


def test_a_registry_that_cannot_be_added_to_stays_and_nothing_is_taken_over(ours: Path, theirs: Path) -> None:
    path = ours / REGISTRY
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text())))  # a run in several lines
    before = path.read_bytes()
    with pytest.raises(UserError, match="put these lines below `runs:` yourself"):
        import_results(path, Layout(ours), theirs)
    assert path.read_bytes() == before
    assert not (ours / "results" / KEY).exists()


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


@given(st.floats(1e-6, 1e4), st.integers(0, 2**31 - 1))
def test_a_run_written_as_a_line_is_read_back_as_it_was(epsilon: float, seed: int) -> None:
    wanted = Run(dataset="digits", depth=8, method="epsilon_side", epsilon=round(epsilon, 6), seed=seed)
    ((key, values),) = yaml.safe_load(line_of(wanted)).items()
    assert (key, Run.model_validate(values)) == (wanted.key, wanted)

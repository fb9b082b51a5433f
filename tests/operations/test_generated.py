"""Registry, dvc.yaml, JSON schema, Snakemake, lock file: whatever is derived from another is in step with it."""

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

from eps_resnet.evidence.figures.current import table_fingerprint, table_parts
from eps_resnet.evidence.report import render, report_path
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.experiments.targets import kept_in_git
from eps_resnet.files.atomic import read_json
from eps_resnet.operations.generated import FILES
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Metrics


@pytest.mark.parametrize("path", list(FILES), ids=str)
def test_generated_files_are_in_step_with_the_registry(experiments: Registry, path: Path) -> None:
    assert path.read_text() == FILES[path](experiments), "run `eps-resnet generate`"


def dvc_stages() -> dict[str, tuple[list[str], list[str]]]:
    """The outs and deps of each stage, as DVC itself reads dvc.yaml."""
    stages = Repo(str(Path.cwd())).index.stages
    return {
        stage.addressing: (
            [out.def_path for out in stage.outs],
            [dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)],
        )
        for stage in stages
    }


def test_dvc_has_a_stage_for_each_data_set_run_and_figure(experiments: Registry) -> None:
    stages = dvc_stages()
    data = {f"data-{name}" for name in experiments.datasets}
    assert set(stages) == data | set(experiments.runs) | set(experiments.figures)
    for key in experiments.runs:
        files = Layout().run(key)
        made = {files.model, files.pruned, files.history, files.blocks, files.metrics}
        assert set(map(Path, stages[key][0])) == made


def test_dvc_depends_on_files_that_exist_and_owns_each_output_once() -> None:
    stages = dvc_stages()
    made = [path for outs, _ in stages.values() for path in outs]
    assert len(made) == len(set(made))
    needed = {path for _, deps in stages.values() for path in deps}
    assert [path for path in needed if path not in made and not Path(path).exists()] == []


def test_dvc_watches_all_of_a_data_set_that_its_tables_show(experiments: Registry) -> None:
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    for name, figure in experiments.figures.items():
        (watched,) = stages[name]["params"][0].values()
        shown = {key for key, value in table_parts(experiments, Layout(), name)["data"].items() if value}
        assert {f"datasets.{figure.dataset}.{key}" for key in shown} < set(watched)
        assert f"data/{figure.dataset}.json" in stages[name]["deps"]


def test_a_changed_digest_of_code_is_seen_by_the_stages_that_it_concerns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "clone", "-q", ".", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    code = Path("config/code.json")
    code.write_text(code.read_text().replace('"figure8": "', '"figure8": "another '))
    changed = Repo().status(["figure7-digits", "figure8-digits"])
    assert changed == {"figure8-digits": [{"changed deps": {"config/code.json": {"figure8": "modified"}}}]}


def locked() -> dict[str, str]:
    """The pins of both locks, which have none in common."""
    texts = [Path(name).read_text() for name in ("requirements.lock", "requirements-dev.lock")]
    found = [dict(re.findall(r"^([a-z0-9-]+)==([^ ]+) \\$", text, re.M)) for text in texts]
    assert "://" not in "".join(texts)
    assert len(re.findall(r"^[a-z0-9-]+==", "".join(texts), re.M)) == len(found[0] | found[1])
    return found[0] | found[1]


def test_every_dependency_is_locked_with_hashes() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    pins = locked()
    for requirement in wanted:
        name, _, version = re.sub(r"\[.*\]", "", requirement).partition("==")  # without extras
        assert name in pins, f"{name} is in no lock: run `make lock`"
        assert version in ("", pins[name])


def test_environment_yml_takes_its_pins_from_the_lock_file() -> None:
    environment = yaml.safe_load(Path("environment.yml").read_text())
    assert environment["dependencies"] == ["python=3.11", "pip", {"pip": ["-r requirements.lock"]}]


def test_each_dependency_is_justified_in_a_line() -> None:
    text = Path("pyproject.toml").read_text()
    listed = [line for line in text.splitlines() if re.match(r'^    "[a-z]', line)]
    assert len(listed) > 20
    assert [line for line in listed if "#" not in line] == []


def test_the_environment_that_runs_the_tests_is_the_locked_one() -> None:
    from importlib.metadata import distributions

    pins = locked()
    installed = {re.sub(r"[-_.]+", "-", d.name).lower(): d.version for d in distributions()}
    assert {name: (installed.get(name), pin) for name, pin in pins.items() if installed.get(name) != pin} == {}


def make_setup(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(name, folder)
    command = ["make", "setup", f"PYTHON={python}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("when", [0, 4_000_000_000])  # older than the lock file, as after a checkout; newer
def test_an_install_is_repeated_if_it_does_not_match_the_lock_file_whatever_their_times(
    tmp_path: Path, when: int
) -> None:
    (tmp_path / ".venv").mkdir()
    content = Path("requirements.lock").read_bytes() + Path("pyproject.toml").read_bytes()
    (tmp_path / ".venv/installed").write_text(f"{hashlib.sha256(content).hexdigest()}  -\n")
    os.utime(tmp_path / ".venv/installed", (when, when))
    process = make_setup(tmp_path, "/bin/false")
    assert process.returncode == 0, process.stderr
    assert "Installing" not in process.stdout
    (tmp_path / ".venv/installed").write_text("0  -\n")
    os.utime(tmp_path / ".venv/installed", (when, when))
    assert "Python 3.11 is needed" in make_setup(tmp_path, "/bin/false").stdout


def test_another_python_is_refused_with_a_sentence(tmp_path: Path) -> None:
    process = make_setup(tmp_path, "/bin/false")
    assert process.returncode != 0
    assert "Python 3.11 is needed, which is none of these:\n  /bin/false: " in process.stdout
    assert not (tmp_path / ".venv").exists()


def git(*arguments: str, given: str | None = None) -> list[str]:
    process = subprocess.run(["git", *arguments], input=given, capture_output=True, text=True, check=False)
    assert process.returncode in (0, 1), process.stderr  # `check-ignore` ends with 1 where nothing is ignored
    return process.stdout.splitlines()


def test_no_environment_and_no_image_is_in_the_repository(experiments: Registry) -> None:
    networks = {str(Layout().run(key).pruned) for key in kept_in_git(experiments)}
    assert [
        name
        for name in git("ls-files")
        if name.startswith((".venv", "demo/", "work/")) or name.endswith((".safetensors", ".bin", ".gz"))
        if name not in networks
    ] == []


def test_git_keeps_the_pruned_networks_that_check_is_for_and_dvc_the_others(experiments: Registry) -> None:
    kept = {str(Layout().run(key).pruned) for key in kept_in_git(experiments)}
    every = {str(Layout().run(key).pruned) for key in experiments.runs}
    assert every - set(git("check-ignore", "--no-index", "--stdin", given="\n".join(every))) == kept
    outs = [out for stage in Repo(str(Path.cwd())).index.stages for out in stage.outs if out.def_path in every]
    assert {out.def_path for out in outs if not out.use_cache} == kept
    models = "\n".join(str(Layout().run(key).model) for key in experiments.runs)
    assert len(git("check-ignore", "--no-index", "--stdin", given=models)) == len(experiments.runs)


def test_the_pruned_networks_in_git_take_less_than_15_mb_and_none_is_left_out(experiments: Registry) -> None:
    there = [Path(name) for name in git("ls-files", "results/*/pruned.safetensors")]
    assert sum(path.stat().st_size for path in there) < 15e6
    runs = [Layout().run(key) for key in kept_in_git(experiments)]
    assert [run.pruned for run in runs if records.read(Metrics, run.metrics) and run.pruned not in there] == []


def test_ci_calls_the_readmes_test_command() -> None:
    assert "make test-all" in Path(".ci/run").read_text().splitlines()
    assert "make test-all" in Path("README.md").read_text()


def test_the_committed_tables_drawings_and_report_show_the_present_results(experiments: Registry) -> None:
    """`make tables` writes them anew."""
    layout = Layout()
    for name in experiments.figures:
        manifest = read_json(layout.table_manifest(name)) or {}
        assert manifest.get("fingerprint") == table_fingerprint(experiments, layout, name), name
        assert all(path.exists() for path in layout.figure_files(name))
    assert render(experiments, layout) == report_path(layout).read_text()

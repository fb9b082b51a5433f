"""Registry, dvc.yaml, JSON schema, Snakemake, lock file: whatever is derived from another is in step with it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from eps_resnet.generated import FILES
from eps_resnet.provenance import is_drawable
from eps_resnet.registry import Registry


@pytest.mark.parametrize("path", list(FILES), ids=str)
def test_generated_files_are_in_step_with_the_registry(experiments: Registry, path: Path) -> None:
    assert path.read_text() == FILES[path](experiments), "run `eps-resnet generate`"


def test_dvc_has_a_stage_for_each_data_set_run_and_drawable_figure(experiments: Registry) -> None:
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    figures = {name for name in experiments.figures if is_drawable(experiments, name)}
    assert set(stages) == {f"data-{name}" for name in experiments.datasets} | set(experiments.runs) | figures


def test_dvc_depends_on_files_that_exist_and_owns_each_output_once() -> None:
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    made = [path for stage in stages.values() for out in stage["outs"] + stage.get("metrics", []) for path in out]
    assert len(made) == len(set(made))
    needed = {path for stage in stages.values() for path in stage.get("deps", [])}
    assert [path for path in needed if path not in made and not Path(path).exists()] == []


def locked() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+) \\$", Path("requirements.lock").read_text(), re.M))


def test_every_dependency_is_locked_with_hashes() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    pins = locked()
    for requirement in wanted:
        name, _, version = requirement.partition("==")
        assert name in pins, f"{name} is not in requirements.lock: run `make lock`"
        assert version in ("", pins[name])
    text = Path("requirements.lock").read_text()
    assert len(re.findall(r"^[a-z0-9-]+==", text, re.M)) == len(pins)
    assert "://" not in text


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


def test_ci_calls_the_readmes_test_command() -> None:
    assert "make test" in Path(".ci/run").read_text().splitlines()
    assert "make test" in Path("README.md").read_text()

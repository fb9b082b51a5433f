"""`make`: what it installs for whom, that its progress is shown, where it stops early, and what it says at the end."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import PROJECT

LOCKS = ("requirements.lock", "requirements-dev.lock")
# A make that runs these tests would have the one in them tell which folder it enters.
WITHOUT_MAKE = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
# Stands for Python 3.11 and makes an environment of itself, whose pip prints what `PIP` holds.
PYTHON = """#!/bin/sh
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python;;
  *"-r "*) echo "installs ${*##* }" >> asked; cat pip-prints; exit "$(cat pip-ends)";;
esac
"""
PIP = """\
Looking in indexes: https://pypi.org/simple
Collecting iniconfig==2.3.1 (from -r requirements.lock (line 3))
  Downloading iniconfig-2.3.1-py3-none-any.whl (7.6 kB)
Requirement already satisfied: pip==23.2.1 in ./.venv
Processing /wheels/torch-2.14.1-cp311-cp311-linux_x86_64.whl
Collecting torchvision==0.29.1 (from -r requirements.lock (line 9))
  Obtaining dependency information for torchvision==0.29.1
  Downloading torchvision-0.29.1-cp311-cp311-linux_x86_64.whl (858.6 MB)
Installing collected packages: iniconfig, torch, torchvision
Successfully installed iniconfig-2.3.1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `make setup` reads, with a Python that installs nothing."""
    if shutil.which("make") is None:
        pytest.skip("make is not there")
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "pip-prints").write_text(PIP)
    (tmp_path / "pip-ends").write_text("0")
    return tmp_path


def make(folder: Path, *arguments: str, expect: int = 0) -> str:
    process = subprocess.run(
        ["make", f"PYTHON={folder}/python", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=WITHOUT_MAKE,
    )
    assert process.returncode == expect, process.stdout
    return process.stdout


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().split("\n")[:-1]


def test_setup_installs_what_running_needs_and_setup_dev_the_rest_each_once(folder: Path) -> None:
    make(folder, "setup")
    assert asked(folder) == ["installs requirements.lock"]
    make(folder, "setup-dev")
    make(folder, "setup")
    make(folder, "setup-dev")
    assert asked(folder) == [f"installs {lock}" for lock in LOCKS]


def test_each_lock_is_installed_anew_where_it_changed_and_the_other_is_not(folder: Path) -> None:
    make(folder, "setup-dev")
    for lock in reversed(LOCKS):
        (folder / lock).write_text((folder / lock).read_text() + "# changed\n")
        make(folder, "setup-dev")
    assert asked(folder) == [f"installs {lock}" for lock in (*LOCKS, *reversed(LOCKS))]


@pytest.mark.parametrize("target", ["demo", "tables"])
def test_what_only_runs_needs_nothing_of_the_tests(folder: Path, target: str) -> None:
    planned = make(folder, "-n", target)
    assert "-r requirements.lock" in planned
    assert "requirements-dev.lock" not in planned


@pytest.mark.parametrize("target", ["test", "test-all", "test-faults", "test-cluster", "check", "bench"])
def test_what_tests_checks_or_measures_installs_both(folder: Path, target: str) -> None:
    assert all(f"-r {lock}" in make(folder, "-n", target) for lock in LOCKS)


def test_a_line_for_each_package_shows_how_far_it_is(folder: Path) -> None:
    lock = "# comment\niniconfig==2.3.1 \\\n    --hash=sha256:00\ntorch==2.14.1 \\\n    --hash=sha256:11\n" * 2
    (folder / "requirements.lock").write_text(lock)
    assert make(folder, "setup").splitlines()[1:] == [
        "  1 of 4: iniconfig==2.3.1",
        "  3 of 4: torch-2.14.1-cp311-cp311-linux_x86_64.whl",
        "  4 of 4: torchvision==0.29.1",
        "    Downloading torchvision-0.29.1-cp311-cp311-linux_x86_64.whl (858.6 MB)",
        "  unpacking them, which takes as long again",
    ]


def test_where_pip_fails_make_does_and_what_pip_says_is_shown(folder: Path) -> None:
    (folder / "pip-prints").write_text("ERROR: No matching distribution found for torch==2.14.1\n")
    (folder / "pip-ends").write_text("1")
    for _ in range(2):  # nothing marks it as installed
        assert "\nERROR: No matching distribution" in make(folder, "setup", expect=2)
    assert asked(folder) == ["installs requirements.lock"] * 2
    assert not (folder / ".venv/installed").exists()


@pytest.mark.parametrize("setting", ["OS=Windows_NT", "SYSTEM=Darwin", "SYSTEM=MINGW64_NT"])
@pytest.mark.parametrize("target", ["demo", "setup", "test"])
def test_another_system_than_linux_is_told_at_once_what_to_do(folder: Path, setting: str, target: str) -> None:
    printed = make(folder, setting, target, expect=2)
    assert len(printed.splitlines()) == 1
    system = setting.partition("=")[2].removesuffix("_NT")
    assert f"needs Linux, and here is {system}" in printed
    assert "use WSL on Windows, or on any system a container" in printed
    assert not (folder / "asked").exists()


def test_the_demo_ends_with_three_places_to_look_next_which_exist(folder: Path) -> None:
    planned = make(folder, "-n", "demo").split("Where to look next:")[1]
    lines = re.findall(r'echo "  (\S.*?)  +\S', planned)
    assert lines == ["demo/paper_tables/index.html", ".venv/bin/eps-resnet claims", "README.md, docs/"]
    assert (PROJECT / "paper_tables/index.html").exists()


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+) \\$", (PROJECT / lock).read_text(), re.MULTILINE))


def closure(requirements: Iterable[str]) -> set[str]:
    """The packages that these need, themselves among them, by what the installed ones say."""
    installed = {_canonical(found.name): found for found in distributions()}
    extras: dict[str, set[str]] = {}
    todo = [Requirement(text) for text in requirements]
    while todo:
        wanted = todo.pop()
        name = _canonical(wanted.name)
        if name not in extras or not wanted.extras <= extras[name]:
            extras.setdefault(name, set()).update(wanted.extras)
            todo += _needed(installed[name], extras[name])
    return set(extras)


def _needed(package: Distribution, extras: set[str]) -> list[Requirement]:
    wanted = [Requirement(text) for text in package.requires or ()]
    return [r for r in wanted if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in (*extras, ""))]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_one_lock_has_what_running_needs_and_the_other_what_is_needed_besides() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    running, tests = (closure(needed) for needed in (project["dependencies"], project["optional-dependencies"]["dev"]))
    assert [set(pins(lock)) for lock in LOCKS] == [running, tests - running]


def test_make_lock_divides_one_resolution_into_the_two_locks(folder: Path) -> None:
    """A stand-in for uv writes what uv would: all pins, then those of them that running needs."""
    texts = [(PROJECT / lock).read_text() for lock in LOCKS]
    whole = texts[0] + texts[1].split("make lock\n")[1]
    (folder / "whole").write_text(whole)
    (folder / "running").write_text(texts[0])
    (folder / "uv").write_text(
        'case "$*" in *"--extra dev -o requirements-dev.lock"*) cat whole > requirements-dev.lock;;\n'
        '*"-o requirements.lock"*) cmp -s whole requirements.lock && cat running > requirements.lock;; esac\n'
    )
    make(folder, "lock", "UV_COMPILE=sh uv")
    assert [(folder / lock).read_text() for lock in LOCKS] == texts
